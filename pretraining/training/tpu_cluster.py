"""The TPU a run asks for: on this machine, at an address, or by name through the Cloud TPU API."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError

# A restart with another version takes a few minutes.
TIME_LIMIT_SECONDS = 1200
POLL_SECONDS = 30
# TensorFlow by itself asks for a day.
ANSWER_SECONDS, QUESTION_SECONDS = 300, 5
_GLANCE_SECONDS = 0.1  # between two looks for a signal
# From these a TPU does not come back: it has to be created anew.
_LOST_STATES = ("PREEMPTED", "TERMINATED", "DELETING", "STOPPED")


def resolve_tpu(
    name: str,
    zone: str = "",
    project: str = "",
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    poll_seconds: float = POLL_SECONDS,
) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    """The resolver of `local`, of grpc://address:port, or of a named TPU that is healthy and runs this TensorFlow.

    Args:
      name: of these three kinds.
      zone, project: of a named TPU; "" on a Google Cloud machine for its own.
      time_limit_seconds: how long a named TPU may take to become healthy, each time it is waited for.
      poll_seconds: between two questions for its health.

    Raises:
      InputError: a named TPU that is lost, does not become healthy, cannot run this TensorFlow, or cannot be asked for.
    """
    zone_or_none, project_or_none = zone or None, project or None
    if name != "local" and not name.startswith("grpc://"):
        try:
            # Only here: the package serves named TPUs alone and is not needed, nor always there, on a TPU VM.
            from cloud_tpu_client import Client
        except ImportError as error:
            raise InputError(f"--tpu_name={name}: found no package cloud-tpu-client, which named TPUs need") from error
        try:
            _prepare(Client(name, zone_or_none, project_or_none), name, time_limit_seconds, poll_seconds)
        except InputError:
            raise
        except Exception as error:  # the package raises bare ones, and whatever its HTTP libraries raise
            raise InputError(
                f"--tpu_name={name}: found no good answer from the Cloud TPU API; expected a TPU of that name in "
                f"--tpu_zone and --gcp_project, and credentials: {error!r}"
            ) from error
    return tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name, zone=zone_or_none, project=project_or_none)


def _prepare(client: Any, name: str, time_limit_seconds: float, poll_seconds: float) -> None:
    """Waits until the TPU is healthy; where it runs another TensorFlow, has it restart with this one."""
    _wait(client, name, time_limit_seconds, poll_seconds)
    found = client.runtime_version()
    if found != tf.__version__:
        logging.info("TPU %s runs TensorFlow %s: switching it to %s", name, found, tf.__version__)
        client.configure_tpu_version(tf.__version__, restart_type="ifNeeded")
        _wait(client, name, time_limit_seconds, poll_seconds)


def _wait(client: Any, name: str, time_limit_seconds: float, poll_seconds: float) -> None:
    _check_not_lost(client, name)
    try:
        client.wait_for_healthy(timeout_s=time_limit_seconds, interval=poll_seconds)
    except RuntimeError as error:
        _check_not_lost(client, name)
        raise InputError(
            f"--tpu_name={name}: found state {client.state()} and health {client.health()} after "
            f"{time_limit_seconds:g} s, expected READY and HEALTHY"
        ) from error


def _check_not_lost(client: Any, name: str) -> None:
    state = client.state()
    if state in _LOST_STATES:
        raise InputError(
            f"--tpu_name={name}: found state {state}, expected READY: create it again; "
            "the same command then goes on from the last checkpoint"
        )


def check_answer(master: str, cores: int, cluster: Any = None, time_limit_seconds: float | None = None) -> None:
    """Asks a TensorFlow server which TPU cores it has, for a limited time; SIGTERM and Ctrl-C end the wait.

    Args:
      master: the server's address; "" for this process.
      cores: as many as there should be.
      cluster: the tf.train.ClusterDef that sessions get, or None.
      time_limit_seconds: for the answer; None: ANSWER_SECONDS.

    Raises:
      InputError: no answer in time, or another number of cores.
      SystemExit: a signal came; its status is 128 and the signal's number.
    """
    time_limit_seconds = time_limit_seconds or ANSWER_SECONDS
    where = master or "this machine"
    logging.info("Asking %s for its TPU cores, for %g s at most", where, time_limit_seconds)
    answers: list[int | Exception] = []
    over = threading.Event()
    # In a thread of its own: within TensorFlow's call no signal would be seen.
    thread = threading.Thread(target=_ask, args=(master, cluster, answers, over, time_limit_seconds), daemon=True)
    thread.start()
    try:
        with _signals_end_the_wait():
            deadline = time.monotonic() + time_limit_seconds
            while thread.is_alive() and time.monotonic() < deadline:
                thread.join(_GLANCE_SECONDS)
    finally:
        over.set()
    found = answers[-1] if answers else None
    if not isinstance(found, int):
        reason = f": {' '.join(str(found).split())[:200]}" if found else ""
        raise InputError(
            f"--use_tpu: found no answer from {where} within {time_limit_seconds:g} s, expected a TPU{reason}"
        )
    if not found:
        raise InputError(f"--use_tpu: found no TPU cores at {where}, expected {cores}")
    if found != cores:
        raise InputError(f"--num_tpu_cores: found {cores}, expected {found}, the cores at {where}")


def _ask(
    master: str, cluster: Any, answers: list[int | Exception], over: threading.Event, time_limit_seconds: float
) -> None:
    """Appends the number of TPU cores to `answers`, or what went wrong, again and again until it is `over`.

    Each question is short: the end of the process waits for the one that is under way.
    """
    milliseconds = int(1000 * min(QUESTION_SECONDS, time_limit_seconds))
    config = tf.compat.v1.ConfigProto(operation_timeout_in_ms=milliseconds, cluster_def=cluster)
    while not over.is_set():
        try:
            with tf.Graph().as_default(), tf.compat.v1.Session(master, config=config) as session:
                answers.append(sum(device.device_type == "TPU" for device in session.list_devices()))
            return
        except (tf.errors.DeadlineExceededError, tf.errors.UnavailableError) as error:
            answers.append(error)
            over.wait(1)
        except Exception as error:  # handed to the thread that waits
            answers.append(error)
            return


@contextmanager
def _signals_end_the_wait() -> Iterator[None]:
    def leave(number: int, frame: object) -> None:
        os.write(2, f"{signal.Signals(number).name}: ended while waiting for a TPU\n".encode())
        sys.exit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
