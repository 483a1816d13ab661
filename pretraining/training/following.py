"""An evaluator beside a training run: one checkpoint after another, in one graph."""

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import logging

from pretraining.input import storage
from pretraining.input.pipeline import evaluation_batches
from pretraining.input.record_files import Dataset
from pretraining.settings import PretrainingSettings
from pretraining.training import checkpoints, resume
from pretraining.training.model_fn import evaluation_metrics
from pretraining.training.train_step import StepSettings

POLL_SECONDS = 10.0


class UnreadableError(ValueError):
    """A checkpoint that is damaged, or is there no more."""


class OneGraphEstimator:
    """Evaluates as tf.estimator.Estimator does, but builds graph and session once for all checkpoints."""

    replicas = 1

    def __init__(self, settings: PretrainingSettings, step: StepSettings, session_config: Any) -> None:
        self.estimator = self
        self._settings = settings
        self._step = step
        self._config = session_config
        self._session: tf.compat.v1.Session | None = None

    def train(self, data: Dataset, records_seen: int, max_steps: int, hooks: list[Any], listener: Any) -> None:
        raise AssertionError("--eval_follow goes without --do_train")

    def evaluation_input(self, data: Dataset) -> Callable[..., tf.data.Dataset]:
        return lambda: evaluation_batches(data.files, data.spec, self._settings.eval_batch_size)

    def evaluate(self, input_fn: Callable[..., tf.data.Dataset], steps: int, checkpoint_path: str) -> dict[str, float]:
        if self._session is None:
            with tf.Graph().as_default():
                self._build(input_fn())
                self._session = tf.compat.v1.Session(config=self._config)
        try:
            with self._session.graph.as_default():
                self._saver.restore(self._session, checkpoint_path)
        except (ValueError, tf.errors.OpError) as error:  # the saver raises both
            raise UnreadableError(str(error).splitlines()[0]) from error
        self._session.run(self._begin)
        for _ in range(steps):
            self._session.run(self._update)
        return self._session.run(self._values)

    def _build(self, batches: tf.data.Dataset) -> None:
        iterator = tf.compat.v1.data.make_initializable_iterator(batches)
        metrics = evaluation_metrics(iterator.get_next(), self._step)
        self._values = {name: value for name, (value, _) in metrics.items()}
        self._update = tf.group([update for _, update in metrics.values()])
        self._begin = tf.group(iterator.initializer, tf.compat.v1.local_variables_initializer())
        self._saver = tf.compat.v1.train.Saver(tf.compat.v1.trainable_variables())


def wait_for_first_checkpoint(folder: str) -> None:
    """Until training has saved one."""
    if not checkpoints.steps_in(folder):
        logging.info("Waiting for the first checkpoint in %s", folder)
    while not checkpoints.steps_in(folder):
        time.sleep(POLL_SECONDS)


def follow(folder: str, evaluated: set[int], evaluate: Callable[[str], Any]) -> None:
    """Evaluates every checkpoint of a run that is there or comes, in their order, to the one with which training ends.

    Args:
      folder: the run's.
      evaluated: steps whose checkpoints need no evaluation; those that get one are added.
      evaluate: called with a checkpoint.
    """
    while True:
        new = [step for step in checkpoints.steps_in(folder) if step not in evaluated]
        for step in new:
            evaluated.add(step)
            try:
                evaluate(storage.join(folder, f"model.ckpt-{step}"))
            except (UnreadableError, tf.errors.NotFoundError) as error:  # the latter while it is copied to best/
                logging.warning("Step %d is passed over: its checkpoint is damaged, or deleted: %s", step, error)
        if max(evaluated, default=0) >= resume.num_train_steps(folder):
            logging.info("Training has ended and its last checkpoint is evaluated")
            return
        if not new:
            time.sleep(POLL_SECONDS)
