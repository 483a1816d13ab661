"""MultiWorkerMirroredStrategy: two processes on this machine against one process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pretraining.input.record_files import open_dataset
from pretraining.model.configuration import BertConfig
from pretraining.settings import PretrainingSettings
from pretraining.training.estimators import build_estimators
from pretraining.training.hooks import NonFiniteGuard, SessionLostError, StopHook, without_session_recovery
from tests.pretraining.samples import SPEC, write_config, write_shards

ROOT = Path(__file__).parents[3]
SIGTERM_AFTER = 2  # steps; the evaluation comes first, then the step in which the workers agree to stop


def flags(folder: Path, output: str) -> dict[str, Any]:
    return {
        "bert_config_file": str(folder / "config.json"),
        "output_dir": str(folder / output),
        "input_file": f"{folder}/train/*.tfrecord",
        "eval_input_file": f"{folder}/eval/*.tfrecord",
        "do_train": True,
        "do_eval": True,
        "train_batch_size": 8,
        "eval_batch_size": 8,
        "num_train_steps": 1000,
        "num_warmup_steps": 0,
        "eval_every_steps": SIGTERM_AFTER,
        "log_steps": 1,
        "recurring_span_selection": True,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two_workers")
    write_shards(folder / "train", [9, 12])
    write_shards(folder / "eval", [21])
    write_config(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return folder


def free_addresses(number: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses


def rows(output: Path) -> list[dict[str, Any]]:
    path = output / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def stopped(folder: Path) -> Path:
    """The folder of two workers that trained, evaluated, trained on, and stopped when one of them got SIGTERM."""
    output = folder / "two"
    command = [sys.executable, "-m", "pretraining.run_pretraining"]
    command += [f"--{name}={value}" for name, value in flags(folder, "two").items()]
    cluster = {"worker": free_addresses(2)}
    workers = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        with open(folder / f"worker-{index}.log", "wb") as log:
            environment = {**os.environ, "TF_CONFIG": config}
            workers.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log))
    try:
        deadline = time.monotonic() + 240
        while not any(row["kind"] == "eval" for row in rows(output)):
            assert all(worker.poll() is None for worker in workers), (folder / "worker-0.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        workers[1].send_signal(signal.SIGTERM)
        codes = [worker.wait(120) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert codes == [143, 143], (folder / "worker-0.log").read_text()[-3000:]
    return output


def test_two_workers_learn_what_one_process_learns(folder: Path, stopped: Path) -> None:
    steps = SIGTERM_AFTER + 1
    settings = PretrainingSettings(**flags(folder, "one"))
    config = BertConfig.from_json_file(settings.bert_config_file)
    data = open_dataset(settings.input_file, SPEC, config)
    estimator = build_estimators(settings, config, data, load_weights=False)
    estimator.train(data, 0, steps, [StopHook()], NonFiniteGuard(settings.output_dir))
    one = tf.train.load_checkpoint(settings.output_dir)
    two = tf.train.load_checkpoint(str(stopped / f"model.ckpt-{steps}"))
    assert two.get_tensor("global_step") == steps
    shapes = one.get_variable_to_shape_map()
    assert shapes == two.get_variable_to_shape_map()
    for name in shapes:
        np.testing.assert_allclose(two.get_tensor(name), one.get_tensor(name), atol=1e-6, err_msg=name)


def test_the_first_worker_logs_and_evaluates(stopped: Path) -> None:
    assert [(row["kind"], row["step"]) for row in rows(stopped)] == [
        ("train", 1),
        ("train", 2),
        ("eval", 2),
        ("train", 3),
    ]


class LoseSession(tf.compat.v1.train.SessionRunHook):
    def __init__(self) -> None:
        self.sessions = 0

    def after_create_session(self, session: tf.compat.v1.Session, coord: Any) -> None:
        self.sessions += 1

    def after_run(self, run_context: Any, run_values: Any) -> None:
        if self.sessions == 1:
            raise tf.errors.UnavailableError(None, None, "Socket closed")


def test_a_lost_session_ends_the_run() -> None:
    hook = LoseSession()
    with tf.Graph().as_default():
        step = tf.constant(1)
        with (
            pytest.raises(SessionLostError, match=r"session lost \(UnavailableError\)"),
            without_session_recovery(),
            tf.compat.v1.train.MonitoredSession(hooks=[hook]) as session,
        ):
            session.run(step)
        assert hook.sessions == 1
        hook.sessions = 0
        with tf.compat.v1.train.MonitoredSession(hooks=[hook]) as session:  # what it would do otherwise
            session.run(step)
        assert hook.sessions == 2
