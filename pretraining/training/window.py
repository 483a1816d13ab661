"""What a training step leaves on the device for the next log line: sums since the last one, read when it is due.

Keeping the sums on the device means that no step waits for the host, that a TPU's loop of many steps reports all of
them, and that a log line is the mean over its interval.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pretraining.training.train_step import SUMS, TrainStep

_COLLECTION = "training_window"
_FIELDS = (
    *SUMS,
    "steps",
    "loss",
    "step",
    "learning_rate",
    "gradient_norm",
    "bad_step",
    "bad_loss",
    "bad_rate",
    "bad_norm",
)
_SUMMED = len(SUMS) + 2  # the sums, the number of steps, and their losses; what follows is the last step's


@dataclass(frozen=True)
class NonFinite:
    """The first step since the last look whose loss or gradient was not finite."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True)
class Window:
    """Means and totals over the steps since the window was emptied."""

    steps: int
    step: int  # number of updates made
    loss: float
    learning_rate: float  # of the last step
    gradient_norm: float  # of the last step, before clipping
    questions: float
    tokens: float  # without padding
    metrics: dict[str, float]  # span_* and masked_lm_* means, of the objectives that are trained
    non_finite: NonFinite | None


def accumulate_window(step: TrainStep) -> tf.Operation:
    """Adds one step to the graph's window."""
    variable = tf.compat.v1.get_variable(
        "training_window",
        shape=[len(_FIELDS)],
        initializer=tf.compat.v1.zeros_initializer(),
        trainable=False,
        use_resource=True,
        collections=[tf.compat.v1.GraphKeys.LOCAL_VARIABLES],
        aggregation=tf.compat.v1.VariableAggregation.ONLY_FIRST_REPLICA,
    )
    graph = tf.compat.v1.get_default_graph()
    if variable not in graph.get_collection_ref(_COLLECTION):
        graph.add_to_collection(_COLLECTION, variable)
    old = variable.read_value()
    finite = tf.logical_and(tf.math.is_finite(step.loss), tf.math.is_finite(step.gradient_norm))
    summed = old[:_SUMMED] + tf.concat([step.sums, [1.0, step.loss]], 0)
    last = tf.stack([step.step + 1.0, step.learning_rate, step.gradient_norm])
    bad = tf.stack([step.step + 1.0, step.loss, step.learning_rate, step.gradient_norm])
    known = old[_SUMMED + 3 :]
    first_bad = tf.where(tf.logical_or(finite, known[0] > 0), known, bad)
    return variable.assign(tf.concat([summed, last, first_bad], 0), read_value=False)


class WindowReader:
    """Reads and empties the window of a finished graph."""

    def __init__(self) -> None:
        (variable, *_) = tf.compat.v1.get_collection(_COLLECTION)
        self._read = variable.read_value()
        self._empty = variable.assign(tf.zeros_like(variable))

    def read(self, session: tf.compat.v1.Session, empty: bool) -> Window | None:
        """The window, or None where no step was made since it was emptied."""
        window = _decode(session.run(self._read))
        if empty:
            session.run(self._empty)
        return window


def _decode(vector: np.ndarray) -> Window | None:
    values = dict(zip(_FIELDS, vector.tolist(), strict=True))
    steps = values["steps"]
    if not steps:
        return None
    non_finite = None
    if values["bad_step"]:
        bad = (values["bad_loss"], values["bad_rate"], values["bad_norm"])
        non_finite = NonFinite(int(values["bad_step"]), *bad)
    return Window(
        steps=int(steps),
        step=int(values["step"]),
        loss=values["loss"] / steps,
        learning_rate=values["learning_rate"],
        gradient_norm=values["gradient_norm"],
        questions=values["questions"],
        tokens=values["tokens"],
        metrics=_means(values),
        non_finite=non_finite,
    )


def _means(values: dict[str, float]) -> dict[str, float]:
    means = {}
    if values["questions"]:
        means["span_loss"] = values["span_loss"] / values["questions"]
        for name in ("start", "end", "exact"):
            means[f"span_{name}_accuracy"] = values[f"{name}_correct"] / values["questions"]
    if values["predictions"]:
        means["masked_lm_loss"] = values["masked_lm_loss"] / values["predictions"]
        means["masked_lm_accuracy"] = values["masked_lm_correct"] / values["predictions"]
    return {name: value for name, value in means.items() if math.isfinite(value)}
