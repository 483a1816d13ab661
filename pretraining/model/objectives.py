"""What a batch is scored by: recurring span selection, masked LM, or both."""

from typing import NamedTuple

import tensorflow as tf

from kosplinter_common.records.examples import RecordSpec
from pretraining.model import modeling
from pretraining.model.configuration import BertConfig
from pretraining.model.modeling import GraphOptions

Features = dict[str, tf.Tensor]

# Longest span that the chance of an exact hit counts on: the paper's limit on recurring spans.
CHANCE_SPAN_LENGTH = 10


class SpanScores(NamedTuple):
    """One value for each question, float32 [batch, questions]."""

    loss: tf.Tensor  # (CE_start + CE_end) / 2
    start_correct: tf.Tensor
    end_correct: tf.Tensor
    exact_correct: tf.Tensor  # start and end, each the argmax of its own logits
    weights: tf.Tensor  # 1 for a question, 0 for padding


class MaskedLmScores(NamedTuple):
    """One value for each prediction, float32 [batch * predictions]."""

    loss: tf.Tensor
    correct: tf.Tensor
    weights: tf.Tensor


class Scores(NamedTuple):
    span: SpanScores | None
    masked_lm: MaskedLmScores | None


def score(config: BertConfig, features: Features, objectives: RecordSpec, options: GraphOptions) -> Scores:
    """Builds the model and scores one batch by the objectives whose limit in `objectives` is not 0."""
    encoded = modeling.encode(config, features["input_ids"], features["input_mask"], options)
    return Scores(
        span=_score_spans(config, encoded, features, options) if objectives.max_questions_per_seq else None,
        masked_lm=_score_masked_lm(config, encoded, features, options) if objectives.max_predictions_per_seq else None,
    )


def _score_spans(
    config: BertConfig, encoded: modeling.Encoded, features: Features, options: GraphOptions
) -> SpanScores:
    start_logits, end_logits = modeling.qass_logits(
        config, encoded.hidden, features["input_mask"], features["masked_span_positions"], options
    )
    beginnings, endings = features["masked_span_beginnings"], features["masked_span_endings"]
    start_correct = _hits(start_logits, beginnings)
    end_correct = _hits(end_logits, endings)
    return SpanScores(
        loss=modeling.span_losses(start_logits, end_logits, beginnings, endings),
        start_correct=start_correct,
        end_correct=end_correct,
        exact_correct=start_correct * end_correct,
        weights=features["masked_span_weights"],
    )


def _score_masked_lm(
    config: BertConfig, encoded: modeling.Encoded, features: Features, options: GraphOptions
) -> MaskedLmScores:
    logits = modeling.masked_lm_logits(config, encoded, features["masked_lm_positions"], options)
    labels = tf.reshape(features["masked_lm_ids"], [-1])
    return MaskedLmScores(
        loss=tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits),
        correct=_hits(logits, labels),
        weights=tf.reshape(features["masked_lm_weights"], [-1]),
    )


def _hits(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.equal(tf.argmax(logits, -1, output_type=labels.dtype), labels), tf.float32)


def chance_of_start(input_mask: tf.Tensor) -> tf.Tensor:
    """Chance to hit a start (or an end) by choosing uniformly among the unmasked tokens; float32 [batch]."""
    return 1.0 / tf.maximum(1.0, tf.reduce_sum(tf.cast(input_mask, tf.float32), -1))


def chance_of_exact(input_mask: tf.Tensor) -> tf.Tensor:
    """Chance to hit a span exactly by choosing uniformly among all spans of at most 10 unmasked tokens; float32
    [batch]. n tokens hold n − k + 1 spans of k tokens.
    """
    tokens = tf.reduce_sum(tf.cast(input_mask, tf.float32), -1, keepdims=True)
    lengths = tf.range(1, CHANCE_SPAN_LENGTH + 1, dtype=tf.float32)
    spans = tf.reduce_sum(tf.maximum(0.0, tokens - lengths + 1.0), -1)
    return 1.0 / tf.maximum(1.0, spans)
