"""Evaluation without training: of this run, its config and its objectives, and harmless to what is kept."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.training import run as training
from tests.pretraining.samples import SPEC, write_config, write_shards
from tests.pretraining.training.runs import RECORDS, rows, settings


def state(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


@pytest.mark.parametrize("run_file", [True, False])
def test_another_config_is_refused(folder: Path, copied: Path, tmp_path: Path, run_file: bool) -> None:
    """Sizes also without run.json, from the checkpoint's shapes."""
    cases = [("num_hidden_layers", 2), ("intermediate_size", 64), ("hidden_size", 16), ("max_position_embeddings", 32)]
    if run_file:
        cases += [("num_attention_heads", 4), ("hidden_act", "relu"), ("layer_norm_eps", 1e-3)]
    else:
        (copied / "run.json").unlink()
    before = state(copied)
    for name, value in cases:
        given = settings(folder, copied, do_train=False, do_eval=True)
        other = replace(given, bert_config_file=write_config(tmp_path, **{name: value}))
        with pytest.raises(InputError, match=rf"^[^\n]*{name}: found [^\n]*, expected [^\n]*$") as error:
            training.run(other)
        assert str(value) in str(error.value)
    assert state(copied) == before


def test_a_checkpoint_of_more_layers_is_not_one_of_fewer(folder: Path, copied: Path, tmp_path: Path) -> None:
    """Nothing would miss the third layer's variables; resuming without run.json is no different."""
    (copied / "run.json").unlink()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        reader = tf.train.load_checkpoint(str(copied))
        for name in reader.get_variable_to_shape_map():
            for layer in ("layer_0", "layer_1"):
                tf.compat.v1.get_variable(name.replace("layer_0", layer), initializer=reader.get_tensor(name))
                if "layer_0" not in name:
                    break
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(copied / "model.ckpt-5"), write_meta_graph=False)
    for values in ({"do_train": False, "do_eval": True}, {"num_train_steps": 6}):
        with pytest.raises(InputError, match=r"model\.ckpt-5: num_hidden_layers: found 2, expected the config's 1"):
            training.prepare(settings(folder, copied, **values))


def test_other_records_or_vocabulary_under_the_same_names_are_named(
    folder: Path, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who says nothing of a vocabulary is told that nothing was compared."""
    shutil.copytree(folder / "train", tmp_path / "train")
    info = json.loads((tmp_path / "train/dataset.json").read_text())
    others = {"input_file": f"{tmp_path}/train/*.tfrecord", "eval_input_file": ""}
    for changed, message in (
        ({"vocab": {**info["vocab"], "sha256": "1" * 64}}, "sha256 of the vocabulary: found '1"),
        ({"shards": [{**info["shards"][0], "sha256": "2" * 64}, info["shards"][1]]}, "sha256 of --input_file: found"),
    ):
        (tmp_path / "train/dataset.json").write_text(json.dumps(info | changed))
        with pytest.raises(InputError, match=rf"cannot resume, flags differ from those of [^;]*: {message}"):
            training.prepare(settings(folder, finished, **others))
        if "vocab" in changed:
            with pytest.raises(InputError, match=f"cannot evaluate, flags differ from those of .*: {message}"):
                training.prepare(settings(folder, finished, do_train=False, do_eval=True, **others))
    (tmp_path / "train/dataset.json").unlink()
    lengths = {"max_seq_length": 16, "max_questions_per_seq": 3, "max_predictions_per_seq": 2}
    with caplog.at_level("WARNING", "absl"):
        training.prepare(settings(folder, finished, do_train=False, do_eval=True, **others, **lengths))
    assert "cannot tell whether the evaluation's records were made with the run's vocabulary" in caplog.text


def test_an_objective_that_was_not_trained_is_one_line(folder: Path, tmp_path: Path) -> None:
    """Without the flags the evaluation is of what was trained."""
    given = settings(folder, tmp_path / "run", only_recurring_span_selection=True, num_train_steps=1)
    training.run(given)
    evaluation = replace(given, do_train=False, do_eval=True)
    for spans in (True, False):
        flags = {"recurring_span_selection": spans, "only_recurring_span_selection": False}
        message = "not trained on masked LM, expected one so trained: try --recurring_span_selection --only_recurring"
        with pytest.raises(InputError, match=message):
            training.prepare(replace(evaluation, **flags))
    run = training.prepare(replace(evaluation, recurring_span_selection=None, only_recurring_span_selection=None))
    assert run.eval_data and run.eval_data.spec == replace(SPEC, max_predictions_per_seq=0)
    with pytest.raises(InputError, match="--only_recurring_span_selection: found False, expected True"):
        training.prepare(replace(given, only_recurring_span_selection=None, num_train_steps=2))


def test_best_is_kept_for_each_kind_of_evaluation(folder: Path, copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Scores on the records of training, on fewer records, or of another kind say nothing against the held-out one."""
    best = copied / "best/eval_results.json"
    best.write_text(json.dumps(json.loads(best.read_text()) | {"span_exact_accuracy": -1.0}))
    kept = best.read_text()
    alone = settings(folder, copied, do_train=False, do_eval=True)
    with caplog.at_level("WARNING", "absl"):
        training.run(replace(alone, eval_input_file=f"{folder}/train/*.tfrecord"))
    assert "2 of 2 evaluation files are trained on" in caplog.text
    training.run(replace(alone, max_eval_steps=1))
    results = json.loads((copied / "eval_results.json").read_text())
    records = write_shards(folder / "again", [RECORDS])[: alone.eval_batch_size]
    assert results["questions"] == sum(record["masked_span_weights"].sum() for record in records)
    training.run(replace(alone, recurring_span_selection=False))
    assert best.read_text() == kept
    on_train, on_batch, masked_lm = [row["data"] for row in rows(copied) if row["kind"] == "eval"][-3:]
    assert len({on_train, on_batch, masked_lm}) == 3 and masked_lm == json.loads(kept)["data"]
    for name in (on_train, on_batch, f"{masked_lm}-masked_lm"):
        assert tf.train.load_variable(str(copied / f"best-{name}"), "global_step") == 4
    training.run(alone)
    assert json.loads(best.read_text())["span_exact_accuracy"] >= 0  # better than -1, on the same records


def test_records_of_evaluation_are_checked_before_training(folder: Path, tmp_path: Path) -> None:
    write_shards(tmp_path / "eval", [700])
    (shard,) = (tmp_path / "eval").glob("*.tfrecord")
    damaged = bytearray(shard.read_bytes())
    damaged[-10] ^= 1
    shard.write_bytes(damaged)
    given = settings(folder, tmp_path / "run", do_eval=True, eval_input_file=str(shard))
    with pytest.raises(InputError, match=rf"{shard.name}: record 699: damaged"):
        training.run(given)
    assert not (tmp_path / "run").exists()


def test_eval_without_a_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no checkpoint in"):
        training.prepare(settings(folder, tmp_path / "none", do_train=False, do_eval=True))


def test_the_trainers_checkpoint_file_is_left_alone(folder: Path, copied: Path) -> None:
    """Also where the newest checkpoint is damaged, or not whole yet, and an older one is evaluated."""
    (copied / "model.ckpt-4.data-00000-of-00001").write_bytes(b"")
    before = state(copied)
    run = training.prepare(settings(folder, copied, do_train=False, do_eval=True))
    assert run.checkpoint == str(copied / "model.ckpt-2") and state(copied) == before
