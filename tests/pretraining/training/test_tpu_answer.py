"""A TPU that does not answer, or has other cores than asked for, ends a run soon and in one line."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.training import estimators, tpu_cluster
from pretraining.training import run as training
from pretraining.training.tpu_cluster import check_answer
from tests.pretraining.training.runs import settings


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"grpc://127.0.0.1:{server.getsockname()[1]}"


def test_silence_has_an_end(silent: str) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=rf"found no answer from {silent} within 0\.5 s, expected a TPU"):
        check_answer(silent, 8, time_limit_seconds=0.5)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait(silent: str, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """And the process: its end waits for the question under way, which must be short."""
    monkeypatch.setattr(tpu_cluster, "QUESTION_SECONDS", 0.5)
    others = set(threading.enumerate())
    before = signal.getsignal(number)
    timer = threading.Timer(0.3, os.kill, [os.getpid(), number])
    timer.start()
    with pytest.raises(SystemExit) as exit_:
        check_answer(silent, 8, time_limit_seconds=20)
    assert exit_.value.code == 128 + number and signal.getsignal(number) is before
    for thread in set(threading.enumerate()) - others:
        thread.join(10)
        assert not thread.is_alive()


def test_cores_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [SimpleNamespace(device_type=kind) for kind in ("CPU", "TPU_SYSTEM", "TPU", "TPU")]
    monkeypatch.setattr(tf.compat.v1.Session, "list_devices", lambda self: devices)
    check_answer("", 2)
    with pytest.raises(InputError, match="--num_tpu_cores: found 8, expected 2, the cores at this machine"):
        check_answer("", 8)
    monkeypatch.undo()
    with pytest.raises(InputError, match="found no TPU cores at this machine, expected 8"):
        check_answer("", 8)


def test_a_run_asks_before_each_session(
    folder: Path, copied: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process, as between two rounds of a training: the TPU is there, then it is not."""
    given = settings(folder, copied, train_batch_size=8, use_tpu=True, tpu_name=silent)
    given = replace(given, iterations_per_loop=3, save_checkpoints_steps=50, do_eval=True)
    monkeypatch.setattr(tpu_cluster, "ANSWER_SECONDS", 0.5)
    with pytest.raises(InputError, match=rf"--use_tpu: found no answer from {silent}"):
        training.run(replace(given, output_dir=str(copied.parent / "new")))
    evaluation = replace(given, do_train=False)
    with pytest.raises(InputError, match=rf"--use_tpu: found no answer from {silent}"):
        training.run(evaluation)
    run = training.prepare(evaluation)
    assert run.eval_data
    for iterations, expected in ((3, 3), (0, 50)):
        asked = replace(evaluation, iterations_per_loop=iterations)
        built = estimators.build_estimators(asked, run.config, run.eval_data, load_weights=False)
        assert built.estimator.config.tpu_config.iterations_per_loop == expected
