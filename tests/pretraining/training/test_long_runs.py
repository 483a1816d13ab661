"""What runs of days need: records that change, milestones, and an evaluator beside them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.training import checkpoints, following
from pretraining.training import run as training
from tests.pretraining.samples import write_shards
from tests.pretraining.training.runs import rows, settings


def test_a_corpus_that_grew_and_milestones(
    folder: Path, finished: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(folder / "grown", [9, 12, 7])
    grown = settings(folder, copied, input_file=f"{folder}/grown/*.tfrecord", num_train_steps=10)
    with pytest.raises(InputError, match=r"--input_file: found .* expected .*; --allow_changed_records goes on"):
        training.prepare(grown)
    with pytest.raises(InputError, match=r"random_seed: found 1, expected 12345$"):
        training.prepare(replace(grown, allow_changed_records=True, random_seed=1))
    seen = []
    batches = training.build_estimators.__globals__["training_batches"]
    monkeypatch.setitem(
        training.build_estimators.__globals__,
        "training_batches",
        lambda *args, **more: seen.append((len(args[0].paths), args[4])) or batches(*args, **more),
    )
    keep = {"save_checkpoints_steps": 1, "keep_checkpoint_max": 1, "keep_checkpoint_every_steps": 3}
    training.run(replace(grown, allow_changed_records=True, **keep))
    assert checkpoints.steps_in(str(copied)) == [4, 6, 9, 10]  # 4 was the first from 3 on
    before, after = (tf.train.load_checkpoint(str(run / "model.ckpt-4")) for run in (finished, copied))
    moments = [name for name in before.get_variable_to_shape_map() if name.endswith("adam_v")]
    assert moments and all((before.get_tensor(name) == after.get_tensor(name)).all() for name in moments)
    training.run(replace(grown, num_train_steps=11))
    assert seen == [(3, 0), (3, 6 * 4)]  # files, and records of the updates since they are read
    changes = [(row["step"], row["name"], row["was"], row["now"]) for row in rows(copied) if row["kind"] == "change"]
    assert changes == [
        (4, "--num_train_steps", 4, 10),
        (4, "records", "2 files of 21 records", "3 files of 28 records"),
        (10, "--num_train_steps", 10, 11),
    ]
    began = json.loads((copied / "run.json").read_text())
    assert [(change["step"], change["name"]) for change in began["changes"]] == [change[:2] for change in changes]
    assert began["records_from_step"] == 4 and began["flags"]["num_train_steps"] == 11


def test_a_follower_evaluates_each_checkpoint_in_one_graph_until_the_last(
    folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At first there is no checkpoint, then a damaged one, at last the one that ends the run."""
    before = {path: path.read_bytes() for path in copied.glob("model.ckpt-*")}
    logged = (copied / "metrics.jsonl").read_text()
    for path in before:
        path.unlink()
    come, built = [0, 2, 4], []
    metrics = following.evaluation_metrics
    monkeypatch.setattr(following, "evaluation_metrics", lambda *args: built.append(1) or metrics(*args))

    def save_next(seconds: float) -> None:
        step = come.pop(0)
        for path, data in before.items():
            if f"ckpt-{step}." in path.name:
                damaged = step == 2 and "data" in path.name
                path.write_bytes(data[: len(data) // 9] if damaged else data)

    monkeypatch.setattr(following.time, "sleep", save_next)
    given = settings(folder, copied, do_train=False, do_eval=True, eval_follow=True)
    with caplog.at_level("WARNING", "absl"):
        assert not training.run(given)
    assert not come and built == [1] and "Step 2 is passed over" in caplog.text
    lines = [json.loads(line) for line in (copied / "metrics_follow.jsonl").read_text().splitlines()]
    assert [row["step"] for row in lines] == [0, 4] and (copied / "metrics.jsonl").read_text() == logged
    (expected,) = (row for row in rows(copied) if row["kind"] == "eval")
    assert lines[0]["span_loss"] != lines[1]["span_loss"] and lines[1].keys() == expected.keys()
    for name, value in expected.items():
        assert lines[1][name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5)), name
    training.run(given)  # nothing is left to do
    assert len((copied / "metrics_follow.jsonl").read_text().splitlines()) == 2
