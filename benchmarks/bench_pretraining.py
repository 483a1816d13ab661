"""Speed of pretraining on this machine: training steps, the input pipeline alone, and the time to the first step.

    python benchmarks/bench_pretraining.py                       # 4 layers x 256, 512 tokens, batch 8
    python benchmarks/bench_pretraining.py --use_bfloat16
    python benchmarks/bench_pretraining.py --bert_config_file pretraining/configs/base-ko.json --steps 1 --batch_size 1

Records are random; the plan of KoSplinter's figures (REFERENCE: 14 examples/s on 2 cores) is the default.
Quote ratios of one run: a machine's speed moves with its other work.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

STARTED = time.monotonic()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from kosplinter_common.records.examples import ExampleEncoder, RecordSpec
from kosplinter_common.records.tfrecords import write_records
from pretraining.input.pipeline import RecordFiles, training_batches
from pretraining.model.configuration import BertConfig
from pretraining.model.flops import training_flops
from pretraining.model.replicas import Replicas
from pretraining.settings import PretrainingSettings
from pretraining.training.estimators import session_config
from pretraining.training.train_step import StepSettings, build_train_step

LENGTH, QUESTIONS = 512, 30


def random_payloads(config: BertConfig, spec: RecordSpec, count: int) -> Iterator[bytes]:
    random = np.random.default_rng(0)
    encoder = ExampleEncoder(spec)
    for _ in range(count):
        record = {"input_ids": random.integers(0, config.vocab_size, LENGTH), "input_mask": np.ones(LENGTH, int)}
        for name in ("positions", "beginnings", "endings"):
            record[f"masked_span_{name}"] = random.integers(1, LENGTH, QUESTIONS)
        record["masked_span_weights"] = np.ones(QUESTIONS)
        yield encoder.encode(record)


def input_speed(files: RecordFiles, spec: RecordSpec, batch_size: int, seconds: float) -> float:
    """Examples a second that the input pipeline delivers with nobody to wait for."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        dataset = training_batches(files, spec, batch_size, seed=1)
        batch = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()["input_ids"]
        session.run(batch.op)
        started, batches = time.monotonic(), 0
        while time.monotonic() - started < seconds:
            session.run(batch.op)
            batches += 1
        return batches * batch_size / (time.monotonic() - started)


def training_speed(
    files: RecordFiles, settings: StepSettings, batch_size: int, steps: int, config: tf.compat.v1.ConfigProto
) -> tuple[float, float]:
    """Seconds from the program's start to the end of the first step, and the median step's seconds."""
    with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
        dataset = training_batches(files, settings.objectives, batch_size, seed=1)
        features = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
        step = build_train_step(features, settings, Replicas())
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(step.train_op)
        first = time.monotonic() - STARTED
        times = []
        for _ in range(steps):
            started = time.monotonic()
            session.run(step.train_op)
            times.append(time.monotonic() - started)
    return first, float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bert_config_file", default=str(Path(__file__).parents[1] / "pretraining/configs/mini.json"))
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--use_bfloat16", action="store_true", help="as on a CPU: oneDNN's graph rewrite")
    arguments = parser.parse_args()
    tf.compat.v1.disable_v2_behavior()
    config = BertConfig.from_json_file(arguments.bert_config_file)
    spec = RecordSpec(LENGTH, QUESTIONS, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "random.tfrecord")
        write_records(path, random_payloads(config, spec, arguments.records))
        files = RecordFiles((path,), (arguments.records,), ("",))
        settings = StepSettings(config, spec, 1e-4, 1000, 100)
        run = PretrainingSettings("", "", input_file=path, do_train=True, use_bfloat16=arguments.use_bfloat16)
        session = session_config(run)
        first, seconds = training_speed(files, settings, arguments.batch_size, arguments.steps, session)
        fed = input_speed(files, spec, arguments.batch_size, seconds=5.0)
    speed = arguments.batch_size / seconds
    print(f"config               {dataclasses.asdict(config)}")
    print(f"start to first step  {first:.1f} s")
    print(f"training             {speed:.2f} examples/s, {speed * LENGTH:,.0f} tokens/s (median of {arguments.steps})")
    print(f"                     {speed * training_flops(config, spec) / 1e9:.0f} GFLOP/s of matrix products")
    print(f"input pipeline alone {fed:,.0f} examples/s, {fed / speed:.0f} times training")


if __name__ == "__main__":
    main()
