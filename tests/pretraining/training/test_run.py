"""Whole runs: what they leave behind, how they go on, how they end."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import ExampleEncoder, RecordSpec
from pretraining.input.pipeline import parse
from pretraining.settings import PretrainingSettings
from pretraining.training import checkpoints
from pretraining.training import run as training
from pretraining.training.hooks import NonFiniteError, SessionLostError, StopHook
from pretraining.training.output_lock import alone_in
from pretraining.training.run_log import RunLog
from pretraining.training.train_step import StepSettings, scored
from tests.pretraining.samples import SPEC, small_config, write_config, write_shards
from tests.pretraining.training.runs import RECORDS, rows, settings

ROOT = Path(__file__).parents[3]


def test_a_run_leaves_log_curve_results_and_best(finished: Path) -> None:
    train = [row for row in rows(finished) if row["kind"] == "train"]
    assert [row["step"] for row in train] == [2, 4]
    for row in train:
        assert row["loss"] == pytest.approx(row["span_loss"] + row["masked_lm_loss"], rel=0.2)
        assert row["examples_per_second"] > 0 and row["tokens_per_second"] > row["examples_per_second"]
    assert train[-1]["seconds_left"] == 0
    assert (finished / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((finished / "eval_results.json").read_text())
    assert f"span_exact_accuracy = {results['span_exact_accuracy']:.6g}" in (finished / "eval_results.txt").read_text()
    assert tf.train.latest_checkpoint(str(finished / "best")) == str(finished / "best/model.ckpt-4")
    assert tf.train.load_variable(str(finished / "best"), "global_step") == 4


def test_eval_is_the_mean_over_every_record_once(folder: Path, finished: Path) -> None:
    """Against one pass with all records in a single batch; the run's batches were of 8, the last filled up."""
    results = json.loads((finished / "eval_results.json").read_text())
    records = write_shards(folder / "again", [RECORDS])
    arrays = {name: np.stack([record[name] for record in records]) for name in SPEC.features()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        features = {n: tf.constant(x, tf.float32 if "weights" in n else tf.int32) for n, x in arrays.items()}
        scores = scored(features, StepSettings(small_config(), SPEC, 0.0, 1, 0))
        tf.compat.v1.train.Saver().restore(session, str(finished / "model.ckpt-4"))
        span, lm = session.run(scores)
    real, predicted = span.weights == 1, lm.weights == 1
    expected = {
        "questions": real.sum(),
        "predictions": predicted.sum(),
        "span_loss": span.loss[real].mean(),
        "span_start_accuracy": span.start_correct[real].mean(),
        "span_end_accuracy": span.end_correct[real].mean(),
        "span_exact_accuracy": span.exact_correct[real].mean(),
        "masked_lm_loss": lm.loss[predicted].mean(),
        "masked_lm_accuracy": lm.correct[predicted].mean(),
        "span_start_chance": np.repeat(1 / arrays["input_mask"].sum(1), 3)[real.reshape(-1)].mean(),
    }
    for name, value in expected.items():
        assert results[name] == pytest.approx(value, rel=1e-4), name
    assert results["loss"] == pytest.approx(expected["span_loss"] + expected["masked_lm_loss"], rel=1e-4)
    assert 0 < results["span_exact_chance"] < results["span_start_chance"]


def test_the_same_command_goes_on_from_the_last_checkpoint(
    folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (copied / "metrics.jsonl").open("a") as file:
        file.write(
            '{"kind": "train", "step": 5, "loss": 1.0}\n{"kind": "tr'
        )  # a killed run wrote behind its checkpoint
    seen = []
    batches = training.build_estimators.__globals__["training_batches"]
    monkeypatch.setitem(
        training.build_estimators.__globals__,
        "training_batches",
        lambda *args: seen.append(args[4]) or batches(*args),
    )
    training.run(settings(folder, copied, num_train_steps=6, keep_checkpoint_max=2))
    assert {path.stem for path in copied.glob("*.index")} == {"model.ckpt-4", "model.ckpt-6"}
    assert seen == [4 * 4]  # records of the four updates that were made
    assert tf.train.latest_checkpoint(str(copied)).endswith("model.ckpt-6")
    assert [row["step"] for row in rows(copied) if row["kind"] == "train"] == [2, 4, 6]


def test_a_run_needs_its_first_weights_no_longer(
    folder: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = settings(folder, copied, init_checkpoint=str(tmp_path / "gone"))
    run = training.prepare(gone)
    assert run.start_step == 4
    monkeypatch.setattr(training, "build_estimators", lambda *args, **kwargs: kwargs)
    assert training.Runner(run)._estimators == {"load_weights": False}
    with pytest.raises(InputError, match="gone: not a readable TensorFlow checkpoint"):
        training.prepare(replace(gone, output_dir=str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


def test_one_run_at_a_time_trains_in_a_folder(folder: Path, copied: Path, tmp_path: Path) -> None:
    """The lock goes with the process that held it, kill -9 included; a folder that is refused is left as it was."""
    code = "import sys; from pretraining.training.output_lock import alone_in\n"
    code += "with alone_in(sys.argv[1]): print(flush=True); sys.stdin.read()"
    before = {file: file.stat().st_mtime_ns for file in copied.rglob("*")}
    command = [sys.executable, "-c", code, str(copied)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline()
        with pytest.raises(InputError, match=f"--output_dir: found another run training in {copied}, expected none"):
            training.run(settings(folder, copied, num_train_steps=6))
        assert {file: file.stat().st_mtime_ns for file in copied.rglob("*")} == before
        other.kill()
    with alone_in(str(copied)):
        pass
    with pytest.raises(InputError, match="no file matches"):
        training.run(settings(folder, tmp_path / "a/b", input_file=str(tmp_path / "none")))
    assert not (tmp_path / "a").exists() and copied.exists()


def test_an_evaluation_that_was_killed_is_made_up_for(
    folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(folder, copied, num_train_steps=6, do_eval=True, eval_every_steps=2)
    evaluated: list[int] = []

    def go_on() -> None:
        runner = training.Runner(training.prepare(given))
        monkeypatch.setattr(runner, "_train", lambda max_steps, stop: setattr(runner, "_step", max_steps))
        monkeypatch.setattr(runner, "evaluate", lambda: evaluated.append(runner._step))
        runner.train_and_evaluate()

    go_on()
    assert evaluated == [6]
    lines = (copied / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copied / "metrics.jsonl").write_text("".join(line for line in lines if '"eval"' not in line))
    go_on()
    assert evaluated == [6, 4, 6]
    other = json.dumps({"kind": "eval", "step": 4, "data": "of other records"})
    (copied / "metrics.jsonl").write_text(other + "\n")
    go_on()
    assert evaluated == [6, 4, 6, 4, 6]


def test_a_truncated_newest_checkpoint_falls_back(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = copied / "model.ckpt-4.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with caplog.at_level("WARNING", "absl"):
        newest = checkpoints.newest_whole_checkpoint(str(copied), repair=False)
        assert newest == str(copied / "model.ckpt-2")
        assert tf.train.latest_checkpoint(str(copied)) == str(copied / "model.ckpt-4")  # the trainer's file
        newest = checkpoints.newest_whole_checkpoint(str(copied))
    assert newest == str(copied / "model.ckpt-2") == tf.train.latest_checkpoint(str(copied))
    assert "model.ckpt-4 is damaged" in caplog.text and "falling back" in caplog.text
    for data in copied.glob("model.ckpt-*.data*"):
        data.write_bytes(b"")
    with pytest.raises(InputError, match="all damaged"):
        checkpoints.newest_whole_checkpoint(str(copied))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input_file": "{}/eval/*.tfrecord"}, r"--input_file: found .*; sha256 of --input_file: found"),
        ({"train_batch_size": 2}, r"flags differ from those of .*run.json: --train_batch_size: found 2, expected 4"),
        ({"recurring_span_selection": False}, "--recurring_span_selection: found False, expected True"),
        ({"random_seed": 1}, "--random_seed: found 1, expected 12345"),
        ({"num_train_steps": 3}, "--num_train_steps: found 3, expected at least 4, the step of the newest checkpoint"),
    ],
)
def test_changed_flags_that_break_a_resume_are_named(
    folder: Path, finished: Path, values: dict[str, Any], message: str
) -> None:
    given = {name: value.format(folder) if isinstance(value, str) else value for name, value in values.items()}
    with pytest.raises(InputError, match=message):
        training.prepare(settings(folder, finished, **given))


def test_a_config_of_another_shape_is_named(folder: Path, finished: Path, tmp_path: Path) -> None:
    other = replace(settings(folder, finished), bert_config_file=write_config(tmp_path, intermediate_size=64))
    with pytest.raises(InputError, match="config intermediate_size: found 64, expected 48"):
        training.prepare(other)


def stop_at_first_log_line(given: PretrainingSettings, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At step 2; nothing else saves before the end."""
    add = RunLog.add

    def add_and_stop(self: RunLog, row: dict[str, Any]) -> None:
        add(self, row)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "add", add_and_stop)
        stopped = training.run(replace(given, save_checkpoints_steps=1000))
    assert stopped == number and signal.getsignal(number) is before
    assert 2 <= checkpoints.step_of(tf.train.latest_checkpoint(given.output_dir)) < 5


def test_ctrl_c_saves_first(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at_first_log_line(settings(folder, tmp_path / "run", num_train_steps=1000), signal.SIGINT, monkeypatch)


def test_sigterm_saves_first_and_the_run_goes_on_as_if_undisturbed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With evaluations between its steps, each of which ends a session, and with dropout: bit for bit, nothing
    shows.
    """
    given = settings(folder, tmp_path / "run", num_train_steps=7)
    stop_at_first_log_line(given, signal.SIGTERM, monkeypatch)
    training.run(replace(given, do_eval=True, eval_every_steps=5))
    undisturbed = replace(given, output_dir=str(tmp_path / "undisturbed"))
    training.run(undisturbed)
    found, expected = (tf.train.load_checkpoint(run.output_dir) for run in (given, undisturbed))
    assert small_config().hidden_dropout_prob > 0 and found.get_tensor("global_step") == 7
    for name in expected.get_variable_to_shape_map():
        np.testing.assert_array_equal(found.get_tensor(name), expected.get_tensor(name), err_msg=name)


def test_non_finite_loss_stops_and_is_not_saved(folder: Path, copied: Path) -> None:
    with pytest.raises(NonFiniteError) as error:
        training.run(settings(folder, copied, learning_rate=math.inf, num_train_steps=9, log_steps=50))
    message = str(error.value)
    assert message.startswith(("step 5: loss", "step 6: loss")), message
    for part in ("learning rate inf", "gradient norm nan", f"last good checkpoint {copied}/model.ckpt-4"):
        assert part in message
    assert not list(copied.glob("model.ckpt-6*"))


def test_a_lost_session_is_no_end(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TPUEstimator.train returns as if nothing had been; the last checkpoint is that of step 2."""
    after_run, calls = StopHook.after_run, iter(range(100))

    def lose(self: StopHook, run_context: Any, run_values: Any) -> None:
        if next(calls) == 2:
            raise tf.errors.UnavailableError(None, None, "Socket closed")
        after_run(self, run_context, run_values)

    monkeypatch.setattr(StopHook, "after_run", lose)
    given = settings(folder, tmp_path / "run", num_train_steps=6, do_eval=True)
    with pytest.raises(SessionLostError, match=r"session lost .*: stop every worker and give the same command again"):
        training.run(given)
    assert tf.train.latest_checkpoint(given.output_dir) == f"{given.output_dir}/model.ckpt-2"
    assert not (tmp_path / "run/eval_results.json").exists()


def test_kill_9_leaves_a_run_that_goes_on(folder: Path, tmp_path: Path) -> None:
    given = settings(folder, tmp_path / "run", num_train_steps=100_000, save_checkpoints_steps=1)
    changed = {f.name for f in fields(given) if getattr(given, f.name) != f.default}
    command = [sys.executable, "-m", "pretraining.run_pretraining"]
    command += [f"--{name}={getattr(given, name)}" for name in sorted(changed)]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    while not (tmp_path / "run/model.ckpt-9.index").exists():
        assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert training.prepare(given).start_step >= 8


@pytest.mark.parametrize(("spans", "only"), [(True, True), (False, False)])
def test_one_objective_alone_scores_as_beside_the_other(
    folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch, spans: bool, only: bool
) -> None:
    with (copied / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 5, "loss": 1.0}\n')  # of a training that goes on
    both = json.loads((copied / "eval_results.json").read_text())
    objectives = {"recurring_span_selection": spans, "only_recurring_span_selection": only}
    training.run(settings(folder, copied, do_train=False, do_eval=True, **objectives))
    alone = json.loads((copied / "eval_results.json").read_text())
    name = "span_" if spans else "masked_lm_"
    assert {key for key in both if key.startswith(name)} == {key for key in alone if "_" in key}
    for key in alone.keys() - {"loss"}:
        assert alone[key] == pytest.approx(both[key], rel=1e-5), key
    assert alone["loss"] == pytest.approx(both[name + "loss"], rel=1e-5)
    assert [row["step"] for row in rows(copied)][-2:] == [5, 4]


def test_an_output_dir_that_is_a_file_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--output_dir: cannot write to .*file/run"):
        training.prepare(settings(folder, tmp_path / "file/run"))


def test_damage_that_training_meets_is_named(folder: Path, tmp_path: Path) -> None:
    write_shards(tmp_path / "train", [9])
    (shard,) = (tmp_path / "train").glob("*.tfrecord")
    runner = training.Runner(training.prepare(settings(folder, tmp_path / "run", input_file=str(shard))))
    damaged = bytearray(shard.read_bytes())
    damaged[-10] ^= 1
    shard.write_bytes(damaged)

    class Reading:
        replicas = 1

        def train(self, *args: Any, **kwargs: Any) -> None:
            list(tf.compat.v1.io.tf_record_iterator(str(shard)))

    runner._estimators = Reading()
    with pytest.raises(InputError, match=r"00000-of-00001\.tfrecord: record 8: damaged"):
        runner.train_and_evaluate()

    def read_longer(*args: Any, **kwargs: Any) -> None:
        (record,) = write_shards(tmp_path / "longer", [1], RecordSpec(24, 3, 2))
        payload = ExampleEncoder(RecordSpec(24, 3, 2)).encode(record)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            session.run(parse(tf.constant([payload]), SPEC))

    runner._estimators.train = read_longer
    with pytest.raises(InputError, match=r"tfrecord: a record unlike the first ones: Key: \w+, Index: 0"):
        runner.train_and_evaluate()


def test_best_keeps_the_best(copied: Path) -> None:
    newer = str(copied / "model.ckpt-2")
    for file in (copied / "best").iterdir():
        assert "model.ckpt-4" in file.name or file.name in ("checkpoint", "eval_results.json")
    best = {"step": 4, "span_exact_accuracy": 0.5}
    (copied / "best/eval_results.json").write_text(json.dumps(best))
    assert not checkpoints.keep_if_best(str(copied), newer, {"span_exact_accuracy": 0.5})
    assert checkpoints.keep_if_best(str(copied), newer, {"span_exact_accuracy": 0.6})
    assert {file.name.split(".")[1][:6] for file in (copied / "best").glob("model*")} == {"ckpt-2"}
    assert tf.train.load_variable(str(copied / "best"), "global_step") == 2
