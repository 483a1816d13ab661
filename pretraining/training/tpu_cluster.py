"""The TPU a run asks for: on this machine, at an address, or by name through the Cloud TPU API."""

from typing import Any

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError

# A restart with another version takes a few minutes.
TIME_LIMIT_SECONDS = 1200
POLL_SECONDS = 30
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
