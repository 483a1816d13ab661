"""The summaries that a TPU's host writes; TPUEstimator runs a host_call without a TPU too."""

import json
from pathlib import Path

import pytest
import tensorflow as tf

from pretraining.input.pipeline import training_batches
from pretraining.input.record_files import open_dataset
from pretraining.model.replicas import Replicas
from pretraining.training.hooks import Progress, ProgressHook
from pretraining.training.model_fn import model_fn_builder
from pretraining.training.run_log import RunLog
from pretraining.training.train_step import StepSettings
from tests.pretraining.samples import SPEC, small_config, write_shards

TAGS = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "gradient_norm": "gradient_norm",
    "span_accuracy": "span_exact_accuracy",
}
PEAK = 1e12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run of five steps with a host_call and a log line for each step."""
    folder = tmp_path_factory.mktemp("host_call")
    write_shards(folder / "records", [12])
    data = open_dataset(f"{folder}/records/*.tfrecord", SPEC, small_config())
    tpu = tf.compat.v1.estimator.tpu
    step = StepSettings(small_config(), SPEC, learning_rate=1e-3, num_train_steps=10, num_warmup_steps=2)
    estimator = tpu.TPUEstimator(
        model_fn_builder(step, Replicas(), tpu_summary_dir=str(folder / "summaries"), log_steps=2),
        use_tpu=False,
        config=tpu.RunConfig(model_dir=str(folder / "run"), save_summary_steps=None, log_step_count_steps=None),
        train_batch_size=4,
    )
    progress = Progress(num_train_steps=10, batch_size=4, flops_per_example=1e6, peak_flops=PEAK, log_steps=1)
    hook = ProgressHook(progress, RunLog(str(folder), 0), str(folder), summaries=False)
    estimator.train(lambda params: training_batches(data.files, SPEC, 4, seed=1), max_steps=5, hooks=[hook])
    return folder


def test_host_call_writes_what_the_log_says(folder: Path) -> None:
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (events,) = (folder / "summaries").glob("events*")
    written: dict[int, dict[str, float]] = {}
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            written.setdefault(event.step, {})[value.tag] = float(tf.make_ndarray(value.tensor))
    assert [row["step"] for row in logged] == [1, 2, 3, 4, 5] and sorted(written) == [2, 4]
    for row in logged[1::2]:
        assert written[row["step"]] == pytest.approx({tag: row[name] for tag, name in TAGS.items()}, rel=1e-6)
    assert logged[1]["learning_rate"] != logged[3]["learning_rate"]


def test_percent_of_peak_is_speed_times_work(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows[1:]:
        assert row["percent_of_peak"] == pytest.approx(100 * row["examples_per_second"] * 1e6 / PEAK)
