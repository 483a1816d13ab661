"""Session hooks of a training run: log lines, the guard against non-finite numbers, the way out on a signal."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from absl import logging
from tensorflow.python.training import monitored_session

from kosplinter_common.cli import InputError
from pretraining.model.replicas import Replicas
from pretraining.training.run_log import RunLog, log_line
from pretraining.training.window import NonFinite, Window, WindowReader

_STOP_VOTES = "stop_votes"


class NonFiniteError(InputError):
    """The loss or the gradient is no longer a finite number; training cannot go on."""


@dataclass(frozen=True)
class Progress:
    """What turns steps into speeds and times."""

    num_train_steps: int
    batch_size: int  # examples an update
    flops_per_example: float
    peak_flops: float | None
    log_steps: int
    steps_per_run: int = 1


def stop_if_non_finite(non_finite: NonFinite | None, output_dir: str) -> None:
    """Raises:
    NonFiniteError: with everything one needs to go on from the last good checkpoint.
    """
    if non_finite is None:
        return
    checkpoint = tf.train.latest_checkpoint(output_dir)
    raise NonFiniteError(
        f"step {non_finite.step}: loss {non_finite.loss}, expected a finite number; "
        f"learning rate {non_finite.learning_rate:.3g}, gradient norm {non_finite.gradient_norm}, "
        f"last good checkpoint {checkpoint or 'none'}: go on from it with a lower --learning_rate "
        f"or a longer --num_warmup_steps"
    )


class NonFiniteGuard(tf.compat.v1.train.CheckpointSaverListener):
    """Looks at the window before each save, so that no checkpoint holds non-finite weights."""

    def __init__(self, output_dir: str) -> None:
        self._output_dir = output_dir

    def begin(self) -> None:
        self._reader = WindowReader()

    def before_save(self, session: tf.compat.v1.Session, global_step_value: int) -> None:
        window = self._reader.read(session, empty=False)
        if window:
            stop_if_non_finite(window.non_finite, self._output_dir)


class ProgressHook(tf.compat.v1.train.SessionRunHook):
    """A log line, a row of metrics.jsonl and TensorBoard scalars for each interval; stops on non-finite numbers."""

    def __init__(self, progress: Progress, run_log: RunLog, output_dir: str, summaries: bool) -> None:
        self._progress = progress
        self._run_log = run_log
        self._output_dir = output_dir
        self._summaries = summaries
        self._started = time.monotonic()
        self._due: int | None = None

    def begin(self) -> None:
        self._reader = WindowReader()
        self._global_step = tf.compat.v1.train.get_global_step()
        self._writer = tf.compat.v1.summary.FileWriterCache.get(self._output_dir) if self._summaries else None

    def after_create_session(self, session: tf.compat.v1.Session, coord: Any) -> None:
        self._due = int(session.run(self._global_step)) + self._progress.log_steps
        self._first_step_done = False

    def before_run(self, run_context: Any) -> tf.compat.v1.train.SessionRunArgs:
        return tf.compat.v1.train.SessionRunArgs(self._global_step)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        if not self._first_step_done:
            self._first_step_done = True
            self._seconds_to_first = time.monotonic() - self._started
            logging.info("First step after %.1f s (graph, session and input included)", self._seconds_to_first)
            self._started = time.monotonic()
            window = self._reader.read(run_context.session, empty=False)
            self._steps_before_clock = window.steps if window else 0
        # The step fetched beside the updates may be the one before them.
        if run_values.results + self._progress.steps_per_run >= self._due:
            self._report(run_context.session)

    def end(self, session: tf.compat.v1.Session) -> None:
        self._report(session)
        self._run_log.plot()

    def _report(self, session: tf.compat.v1.Session) -> None:
        window = self._reader.read(session, empty=True)
        if window is None:
            return
        self._due = window.step + self._progress.log_steps
        row = self._row(window)
        logging.info("%s", log_line(row, self._progress.num_train_steps))
        stop_if_non_finite(window.non_finite, self._output_dir)
        self._run_log.add(row)
        if self._writer:
            self._writer.add_summary(_summary(row), window.step)

    def _row(self, window: Window) -> dict[str, Any]:
        now = time.monotonic()
        seconds, steps = now - self._started, window.steps - self._steps_before_clock
        self._started, self._steps_before_clock = now, 0
        row = {"kind": "train", "step": window.step, "loss": window.loss, "learning_rate": window.learning_rate}
        row |= {"gradient_norm": window.gradient_norm, "seconds_to_first_step": round(self._seconds_to_first, 1)}
        row |= window.metrics
        if steps and seconds:
            progress = self._progress
            speed = steps * progress.batch_size / seconds
            row["examples_per_second"] = speed
            row["tokens_per_second"] = window.tokens / window.steps * steps / seconds
            row["seconds_left"] = max(0, progress.num_train_steps - window.step) * seconds / steps
            if progress.peak_flops:
                row["percent_of_peak"] = 100 * speed * progress.flops_per_example / progress.peak_flops
        return row


def _summary(row: dict[str, Any]) -> tf.compat.v1.Summary:
    values = [
        tf.compat.v1.Summary.Value(tag=name, simple_value=value)
        for name, value in row.items()
        if isinstance(value, float)
    ]
    return tf.compat.v1.Summary(value=values)


class SessionLostError(InputError):
    """TensorFlow lost its session: a TPU was preempted, or another worker died."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"session lost ({reason}), a TPU or a worker is gone: stop every worker and give the same command again, "
            f"to go on from the last checkpoint"
        )


@contextmanager
def without_session_recovery() -> Iterator[None]:
    """Ends training where MonitoredSession would make itself a new session: that one would have the last checkpoint's
    weights and the input of this process's beginning, and of several workers the survivors would try without end.

    Raises:
      SessionLostError: in place of what MonitoredSession would have recovered from.
    """
    errors = monitored_session._PREEMPTION_ERRORS
    monitored_session._PREEMPTION_ERRORS = ()
    try:
        yield
    except errors as error:
        raise SessionLostError(type(error).__name__) from error
    finally:
        monitored_session._PREEMPTION_ERRORS = errors


def add_stop_votes(replicas: Replicas) -> None:
    """Lets each worker vote in each step for stopping after it: alone, one would leave the others waiting for it."""
    mine = tf.compat.v1.placeholder_with_default(0.0, [], name="stop_vote")
    tf.compat.v1.add_to_collection(_STOP_VOTES, (mine, replicas.sum([mine])[0]))


class StopHook(tf.compat.v1.train.SessionRunHook):
    """Ends training after a step once a signal has come to this worker or another; Estimator then saves a checkpoint.

    signal: the number of the one that came here; SIGTERM where it came to another worker.
    """

    def __init__(self, alone: bool = True) -> None:
        """`alone`: there are no other workers, so that a request made between two rounds of training holds at once."""
        self.requested = False
        self.signal = int(signal.SIGTERM)
        self.stopped = False
        self._alone = alone

    @property
    def due(self) -> bool:
        """Whether this worker may leave without the others waiting for it."""
        return self.stopped or (self.requested and self._alone)

    def begin(self) -> None:
        self._votes = tf.compat.v1.get_collection(_STOP_VOTES)

    def before_run(self, run_context: Any) -> tf.compat.v1.train.SessionRunArgs | None:
        if not self._votes:
            return None
        mine, all_votes = self._votes[0]
        return tf.compat.v1.train.SessionRunArgs(all_votes, {mine: float(self.requested)})

    def after_run(self, run_context: Any, run_values: Any) -> None:
        if run_values.results if self._votes else self.requested:
            self.requested = self.stopped = True
            run_context.request_stop()


@contextmanager
def stop_on_signals(hook: StopHook) -> Iterator[None]:
    """Within this block SIGTERM and Ctrl-C (SIGINT) ask `hook` to end training."""

    def request(number: int, frame: object) -> None:
        # os.write: a handler may come in the middle of a log line
        os.write(2, f"{signal.Signals(number).name}: saving a checkpoint, then stopping\n".encode())
        hook.requested, hook.signal = True, number

    previous = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
