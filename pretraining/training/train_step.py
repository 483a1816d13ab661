"""One training step: the same graph for CPU, GPU, tf.distribute replicas and TPU cores."""

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from kosplinter_common.records.examples import RecordSpec
from pretraining.model.configuration import BertConfig
from pretraining.model.modeling import GraphOptions
from pretraining.model.objectives import Features, Scores, score
from pretraining.model.optimization import AdamWeightDecayOptimizer, learning_rate_at
from pretraining.model.replicas import Replicas

# What a step adds up over its questions, predictions and tokens, in the order of the vector that holds it.
SUMS = (
    "span_loss",
    "start_correct",
    "end_correct",
    "exact_correct",
    "questions",
    "masked_lm_loss",
    "masked_lm_correct",
    "predictions",
    "tokens",
)


@dataclass(frozen=True)
class StepSettings:
    """Everything a training step is made of, beside the batch."""

    config: BertConfig
    objectives: RecordSpec  # a limit of 0 leaves the objective out
    learning_rate: float
    num_train_steps: int
    num_warmup_steps: int
    gradient_accumulation_steps: int = 1
    use_bfloat16: bool = False  # the compute dtype of bfloat16_scope: TPU and GPU
    use_one_hot_embeddings: bool = False
    random_seed: int = 0  # of dropout


class TrainStep(NamedTuple):
    """train_op runs the step; the rest describes it, summed over micro-batches and replicas."""

    train_op: tf.Operation
    step: tf.Tensor  # float32, number of updates before this one
    loss: tf.Tensor
    learning_rate: tf.Tensor
    gradient_norm: tf.Tensor  # before clipping
    sums: tf.Tensor  # float32 [len(SUMS)]


@tf.autograph.experimental.do_not_convert  # Estimator converts what it calls; nothing here needs it, and it is slow
def build_train_step(features: Features, settings: StepSettings, replicas: Replicas) -> TrainStep:
    """The update from this replica's share of a batch.

    The loss is the mean over all questions of the whole batch plus the mean over all its masked LM predictions,
    whatever the number of replicas and micro-batches: the counts are known from the features, so that each part is
    divided by the whole batch's counts and the parts' gradients simply add up.

    Args:
      features: this replica's tensors [batch, ...]; batch a multiple of gradient_accumulation_steps.
      settings: model, objectives and schedule.
      replicas: who else works on this step.
    """
    global_step = tf.compat.v1.train.get_or_create_global_step()
    counts = _global_counts(features, settings.objectives, replicas)
    gradients, sums = _accumulate(features, counts, settings, dropout_key(settings.random_seed, global_step, replicas))
    sums = replicas.sum([sums])[0]
    loss = sums[SUMS.index("span_loss")] / counts[0] + sums[SUMS.index("masked_lm_loss")] / counts[1]
    # A cast is a copy made before the update; identity may show the step after it.
    step = tf.cast(global_step, tf.float32)
    rate = learning_rate_at(step, settings.learning_rate, settings.num_train_steps, settings.num_warmup_steps)
    adam = AdamWeightDecayOptimizer(rate)
    variables = tf.compat.v1.trainable_variables()
    train_op = replicas.optimizer(adam).apply_gradients(list(zip(gradients, variables, strict=True)), global_step)
    return TrainStep(train_op, step, loss, rate, adam.gradient_norm, sums)


def dropout_key(random_seed: int, global_step: tf.Variable, replicas: Replicas) -> tf.Tensor:
    """int32 [2]: of this update on this replica, the same whatever session it is made in."""
    key = tf.stack([random_seed % 2**31, tf.cast(global_step, tf.int32)])
    return tf.random.experimental.stateless_fold_in(key, replicas.index())


@tf.autograph.experimental.do_not_convert
def scored(features: Features, settings: StepSettings, dropout_key: tf.Tensor | None = None) -> Scores:
    """The model's scores, inside bfloat16_scope where asked for: variables stay float32. With a key, with dropout."""
    options = GraphOptions(
        dropout_key=dropout_key,
        compute_dtype=tf.bfloat16 if settings.use_bfloat16 else tf.float32,
        use_one_hot_embeddings=settings.use_one_hot_embeddings,
    )
    scope = tf.compat.v1.tpu.bfloat16_scope() if settings.use_bfloat16 else tf.compat.v1.variable_scope("")
    with scope:
        return score(settings.config, features, settings.objectives, options)


def _global_counts(features: Features, objectives: RecordSpec, replicas: Replicas) -> list[tf.Tensor]:
    """Questions and masked LM predictions of the whole batch, at least 1 each."""
    questions = predictions = tf.constant(0.0)
    if objectives.max_questions_per_seq:
        questions = tf.reduce_sum(features["masked_span_weights"])
    if objectives.max_predictions_per_seq:
        predictions = tf.reduce_sum(features["masked_lm_weights"])
    return [tf.maximum(1.0, count) for count in replicas.sum([questions, predictions])]


def _accumulate(
    features: Features, counts: list[tf.Tensor], settings: StepSettings, key: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Gradients of every trainable variable and the step's SUMS, added up over the micro-batches."""
    parts = settings.gradient_accumulation_steps
    stacked = {name: tf.reshape(x, [parts, -1, *x.shape[1:]]) for name, x in features.items()}
    if features["input_ids"].shape[0]:
        size = features["input_ids"].shape[0] // parts
        stacked = {name: tf.ensure_shape(x, [parts, size, *x.shape[2:]]) for name, x in stacked.items()}

    def gradients_of(part: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        key_of_part = tf.random.experimental.stateless_fold_in(key, part)
        scores = scored({name: x[part] for name, x in stacked.items()}, settings, key_of_part)
        sums = _sums(scores, stacked["input_mask"][part])
        loss = sums[SUMS.index("span_loss")] / counts[0] + sums[SUMS.index("masked_lm_loss")] / counts[1]
        variables = tf.compat.v1.trainable_variables()
        return [tf.convert_to_tensor(g) for g in tf.gradients(loss, variables)], sums

    gradients, sums = gradients_of(tf.constant(0))
    if parts == 1:
        return gradients, sums

    def add_part(part: tf.Tensor, gradients: list[tf.Tensor], sums: tf.Tensor) -> tuple:
        with tf.compat.v1.variable_scope("", reuse=True):
            more, more_sums = gradients_of(part)
        return part + 1, [a + b for a, b in zip(gradients, more, strict=True)], sums + more_sums

    _, gradients, sums = tf.while_loop(
        lambda part, *_: part < parts, add_part, (tf.constant(1), gradients, sums), parallel_iterations=1
    )
    return gradients, sums


def _sums(scores: Scores, input_mask: tf.Tensor) -> tf.Tensor:
    def total(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values * weights)

    sums = dict.fromkeys(SUMS, tf.constant(0.0))
    if scores.span:
        span = scores.span
        sums["span_loss"] = total(span.loss, span.weights)
        for name in ("start_correct", "end_correct", "exact_correct"):
            sums[name] = total(getattr(span, name), span.weights)
        sums["questions"] = tf.reduce_sum(span.weights)
    if scores.masked_lm:
        lm = scores.masked_lm
        sums["masked_lm_loss"] = total(lm.loss, lm.weights)
        sums["masked_lm_correct"] = total(lm.correct, lm.weights)
        sums["predictions"] = tf.reduce_sum(lm.weights)
    sums["tokens"] = tf.reduce_sum(tf.cast(input_mask, tf.float32))
    return tf.stack([sums[name] for name in SUMS])
