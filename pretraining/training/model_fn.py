"""The Estimator's view of the model: one body for TPUEstimator and for tf.distribute."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pretraining.model.initialization import init_from_checkpoint
from pretraining.model.objectives import Features, Scores, chance_of_exact, chance_of_start
from pretraining.model.replicas import Replicas
from pretraining.training.hooks import add_stop_votes
from pretraining.training.train_step import SUMS, StepSettings, TrainStep, build_train_step, scored
from pretraining.training.window import accumulate_window

ModelFn = Callable[..., Any]


def model_fn_builder(
    settings: StepSettings, replicas: Replicas, init_checkpoint: str = "", tpu_summary_dir: str = "", log_steps: int = 1
) -> ModelFn:
    """A model_fn for training and evaluation.

    Args:
      settings: model, objectives, schedule.
      replicas: TPU cores, or the tf.distribute strategy in scope.
      init_checkpoint: where new runs start from; "" for random weights.
      tpu_summary_dir: where the TPU's host_call writes TensorBoard summaries; "" for no host_call.
      log_steps: how many updates lie between those.
    """

    def model_fn(features: Features, labels: None, mode: str, params: dict[str, Any]) -> Any:
        if mode == tf.estimator.ModeKeys.TRAIN:
            step = build_train_step(features, settings, replicas)
            if not replicas.tpu_cores:
                add_stop_votes(replicas)
            load = _loader(init_checkpoint, on_tpu=replicas.tpu_cores > 0)
            with tf.control_dependencies([accumulate_window(step)]):
                train_op = tf.group(step.train_op)
            return tf.compat.v1.estimator.tpu.TPUEstimatorSpec(
                mode=mode,
                loss=step.loss,
                train_op=train_op,
                scaffold_fn=load,
                host_call=_host_call(step, tpu_summary_dir, log_steps) if tpu_summary_dir else None,
            )
        scores = scored(features, settings)
        return tf.compat.v1.estimator.tpu.TPUEstimatorSpec(
            mode=mode, loss=_batch_loss(scores), eval_metrics=(_eval_metrics, _eval_tensors(scores, features))
        )

    return model_fn


def estimator_model_fn(model_fn: ModelFn) -> ModelFn:
    """The same body for tf.estimator.Estimator, which tf.distribute strategies need."""

    def converted(features: Features, labels: None, mode: str, params: dict[str, Any]) -> Any:
        return model_fn(features, labels, mode, params).as_estimator_spec()

    return converted


def _loader(init_checkpoint: str, on_tpu: bool) -> Callable[[], Any] | None:
    """Initialisation from a checkpoint: on a TPU it has to happen on the host, in scaffold_fn."""
    if not init_checkpoint:
        return None
    if not on_tpu:
        init_from_checkpoint(init_checkpoint)
        return None

    def scaffold() -> tf.compat.v1.train.Scaffold:
        init_from_checkpoint(init_checkpoint)
        return tf.compat.v1.train.Scaffold()

    return scaffold


def _host_call(step: TrainStep, summary_dir: str, every: int) -> tuple[Callable[..., Any], list[tf.Tensor]]:
    """TensorBoard summaries of every `every`-th step, written by the TPU's host.

    Tensors go there with a batch dimension. A flush writes the whole file anew on gs://, so the queue is long.
    """
    names = ("step", "loss", "learning_rate", "gradient_norm", "span_accuracy")
    questions, exact = (step.sums[SUMS.index(name)] for name in ("questions", "exact_correct"))
    values = (step.step + 1.0, step.loss, step.learning_rate, step.gradient_norm, exact / tf.maximum(1.0, questions))

    def write(*columns: tf.Tensor) -> list[tf.Operation]:
        first = {name: column[0] for name, column in zip(names, columns, strict=True)}
        number = tf.cast(first.pop("step"), tf.int64)
        writer = tf.compat.v2.summary.create_file_writer(summary_dir, max_queue=1000)
        with writer.as_default(), tf.compat.v2.summary.record_if(tf.equal(number % every, 0)):
            for name, value in first.items():
                tf.compat.v2.summary.scalar(name, value, step=number)
            return tf.compat.v1.summary.all_v2_summary_ops()

    return write, [tf.reshape(value, [1]) for value in values]


def evaluation_metrics(features: Features, settings: StepSettings) -> dict[str, Any]:
    """{name: (value, update)} over all questions and predictions of an evaluation, outside an Estimator."""
    return _eval_metrics(**_eval_tensors(scored(features, settings), features))


def _batch_loss(scores: Scores) -> tf.Tensor:
    parts = [part for part in scores if part is not None]
    return tf.add_n(
        [tf.reduce_sum(part.loss * part.weights) / tf.maximum(1.0, tf.reduce_sum(part.weights)) for part in parts]
    )


def _eval_tensors(scores: Scores, features: Features) -> dict[str, tf.Tensor]:
    """Per-question and per-prediction values, flat, so that the host can average over all of them."""
    tensors: dict[str, tf.Tensor] = {}
    if scores.span:
        shape = tf.ones_like(scores.span.weights)
        values = {f"span/{name}": value for name, value in scores.span._asdict().items()}
        values["span/chance_of_start"] = chance_of_start(features["input_mask"])[:, None] * shape
        values["span/chance_of_exact"] = chance_of_exact(features["input_mask"])[:, None] * shape
        tensors |= values
    if scores.masked_lm:
        tensors |= {f"masked_lm/{name}": value for name, value in scores.masked_lm._asdict().items()}
    return {name: tf.reshape(value, [-1]) for name, value in tensors.items()}


def _eval_metrics(**tensors: tf.Tensor) -> dict[str, Any]:
    """Means over all questions, and over all masked LM predictions, of the whole evaluation."""
    names = {
        "span/loss": "span_loss",
        "span/start_correct": "span_start_accuracy",
        "span/end_correct": "span_end_accuracy",
        "span/exact_correct": "span_exact_accuracy",
        "span/chance_of_start": "span_start_chance",
        "span/chance_of_exact": "span_exact_chance",
        "masked_lm/loss": "masked_lm_loss",
        "masked_lm/correct": "masked_lm_accuracy",
    }
    metrics = {}
    for tensor, metric in names.items():
        if tensor in tensors:
            weights = tensors[tensor.split("/")[0] + "/weights"]
            metrics[metric] = tf.compat.v1.metrics.mean(tensors[tensor], weights)
    for objective, count in (("span", "questions"), ("masked_lm", "predictions")):
        if f"{objective}/weights" in tensors:
            metrics[count] = _total(tensors[f"{objective}/weights"])
    return metrics


def _total(weights: tf.Tensor) -> Any:
    """Sum over the evaluation, as a metric that strategies can add up: a weighted count of hits that are all hits."""
    ones = tf.ones_like(weights)
    return tf.compat.v1.metrics.true_positives(ones, ones, weights)
