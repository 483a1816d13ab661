"""BERT encoder, question-aware span selection (QASS) and masked LM head as tf.compat.v1 graphs.

Source: Ram et al. 2021 (arXiv 2101.00438), section 4, on the encoder of Devlin et al. 2018; variables are named as in
Google's BERT. Every shape but the batch's is static, and the batch's is too where the input's is (TPU).
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from pretraining.model.configuration import BertConfig

__all__ = ["BertConfig", "GraphOptions", "encode", "masked_lm_logits", "qass_logits", "span_logits", "span_losses"]

# Added to the logits of positions that input_mask hides, in attention and in span selection.
HIDDEN_LOGIT = -10000.0

LayerNorm = Callable[[tf.Tensor, float], tf.Tensor]


def layer_norm(inputs: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalises [..., H] over H in float32; variables LayerNorm/{gamma,beta}."""
    size = inputs.shape[-1]
    with tf.compat.v1.variable_scope("LayerNorm"):
        gamma = _variable("gamma", [size], tf.compat.v1.ones_initializer())
        beta = _variable("beta", [size], tf.compat.v1.zeros_initializer())
    mean, variance = tf.nn.moments(tf.cast(inputs, tf.float32), [-1], keepdims=True)
    normed = tf.nn.batch_normalization(tf.cast(inputs, tf.float32), mean, variance, beta, gamma, epsilon)
    return tf.cast(normed, inputs.dtype)


@dataclass(frozen=True)
class GraphOptions:
    """How a graph is built, beside its config."""

    dropout_key: tf.Tensor | None = None  # int32 [2], another one for each step, replica and part; None: no dropout
    compute_dtype: tf.DType = tf.float32  # of matrix products and activations; variables stay float32
    use_one_hot_embeddings: bool = False  # a matrix product in place of a gather: 2 * vocab_size * H FLOPs a token
    layer_norm: LayerNorm = layer_norm  # (inputs, epsilon) -> normalised; the converter swaps in Keras's


class Encoded(NamedTuple):
    hidden: tf.Tensor  # [batch, length, H], compute dtype
    word_embeddings: tf.Tensor  # [vocab_size, H] float32, the input table


def span_logits(
    config: BertConfig,
    input_ids: tf.Tensor,
    input_mask: tf.Tensor,
    question_positions: tf.Tensor,
    dropout_key: tf.Tensor | None = None,
    layer_norm: LayerNorm = layer_norm,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Encoder and QASS in one: start and end logits, float32 [batch, questions, length].

    Args:
      config: the model's.
      input_ids, input_mask: int [batch, length]; 0 in the mask for padding and for what a masked span left behind.
      question_positions: int [batch, questions].
      dropout_key, layer_norm: see GraphOptions.
    """
    options = GraphOptions(dropout_key=dropout_key, layer_norm=layer_norm)
    hidden = encode(config, input_ids, input_mask, options).hidden
    return qass_logits(config, hidden, input_mask, question_positions, options)


def encode(config: BertConfig, input_ids: tf.Tensor, input_mask: tf.Tensor, options: GraphOptions) -> Encoded:
    """The transformer under scope `bert`. Positions are the exclusive cumulative sum of input_mask: a hidden token
    takes none. There is no token-type embedding and no pooler.

    input_ids, input_mask: int [batch, length].
    """
    batch, length = _dimensions(input_ids)
    with tf.compat.v1.variable_scope("bert"):
        with tf.compat.v1.variable_scope("embeddings"):
            hidden, word_embeddings = _embed(config, input_ids, input_mask, options)
        # Hidden states stay [batch * length, H] between the layers: dense layers are then plain matrix products.
        hidden = tf.reshape(hidden, [-1, config.hidden_size])
        bias = (1.0 - tf.cast(input_mask, tf.float32)[:, None, None, :]) * HIDDEN_LOGIT
        with tf.compat.v1.variable_scope("encoder"):
            for layer in range(config.num_hidden_layers):
                with tf.compat.v1.variable_scope(f"layer_{layer}"):
                    hidden = _layer(config, hidden, bias, options)
    return Encoded(tf.reshape(hidden, [batch, length, config.hidden_size]), word_embeddings)


def qass_logits(
    config: BertConfig,
    hidden: tf.Tensor,
    input_mask: tf.Tensor,
    question_positions: tf.Tensor,
    options: GraphOptions,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores of every position as the start and as the end of each question's answer (section 4.1).

    start_logits = T_qs(h_question) · start_classifier · T_s(h)ᵀ; the end's likewise. The query transforms run on the
    gathered question rows only.

    Args:
      hidden: [batch, length, H]. input_mask: int [batch, length]. question_positions: int [batch, questions].

    Returns:
      start and end logits, float32 [batch, questions, length].
    """
    batch, length = _dimensions(input_mask)
    rows = tf.reshape(hidden, [-1, config.hidden_size])
    questions = gather_rows(hidden, question_positions)
    bias = (1.0 - tf.cast(input_mask, tf.float32)[:, None, :]) * HIDDEN_LOGIT

    def logits(side: str) -> tf.Tensor:
        queries = _span_transform(config, f"query_{side}_transform", questions, options)
        keys = _span_transform(config, f"{side}_transform", rows, options)
        shape = [config.hidden_size, config.hidden_size]
        classifier = _variable(f"{side}_classifier", shape, _normal(config))
        queries = tf.reshape(tf.matmul(tf.cast(queries, tf.float32), classifier), [batch, -1, config.hidden_size])
        keys = tf.reshape(tf.cast(keys, tf.float32), [batch, length, config.hidden_size])
        return tf.matmul(queries, keys, transpose_b=True) + bias

    with tf.compat.v1.variable_scope("cls/span_predictions"):
        return logits("start"), logits("end")


def span_losses(start_logits: tf.Tensor, end_logits: tf.Tensor, beginnings: tf.Tensor, endings: tf.Tensor) -> tf.Tensor:
    """(CE_start + CE_end) / 2 of each question, [batch, questions], from logits [batch, questions, length]."""
    start = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=beginnings, logits=start_logits)
    end = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=endings, logits=end_logits)
    return (start + end) / 2


def masked_lm_logits(config: BertConfig, encoded: Encoded, positions: tf.Tensor, options: GraphOptions) -> tf.Tensor:
    """Scores of every vocabulary entry at positions int [batch, predictions]: float32 [batch * predictions, vocab]."""
    with tf.compat.v1.variable_scope("cls/predictions"):
        with tf.compat.v1.variable_scope("transform"):
            hidden = _dense(config, gather_rows(encoded.hidden, positions), config.hidden_size, options)
            hidden = options.layer_norm(activation(config.hidden_act)(hidden), config.layer_norm_eps)
        bias = _variable("output_bias", [config.vocab_size], tf.compat.v1.zeros_initializer())
        return tf.matmul(tf.cast(hidden, tf.float32), encoded.word_embeddings, transpose_b=True) + bias


def gather_rows(hidden: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Rows of hidden [batch, length, H] at positions [batch, n], as [batch * n, H]."""
    batch, length = _dimensions(hidden)
    offsets = tf.range(batch)[:, None] * length
    return tf.gather(
        tf.reshape(hidden, [-1, hidden.shape[-1]]), tf.reshape(tf.cast(positions, tf.int32) + offsets, [-1])
    )


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function of a `hidden_act`, under Hugging Face's names, in float32 whatever comes in: GELU's 1 + erf and
    1 + tanh have no digit of bfloat16's left where erf nears -1."""
    functions = {
        "gelu": _gelu_erf,
        "gelu_new": _gelu_tanh,
        "gelu_pytorch_tanh": _gelu_tanh,
        "relu": tf.nn.relu,
        "silu": tf.nn.silu,
        "tanh": tf.tanh,
    }
    return lambda x: functions[name](x) if x.dtype == tf.float32 else _in_float32(functions[name], x)


def _in_float32(function: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor) -> tf.Tensor:
    """function(inputs) by way of float32; its steps are made again for the gradient, not kept in memory until then."""

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            with tf.control_dependencies([upstream]):  # else these operations are found to be the first ones
                again = tf.cast(x, tf.float32)
            (found,) = tf.gradients(function(again), again, tf.cast(upstream, tf.float32))
            return tf.cast(found, x.dtype)

        return tf.cast(function(tf.cast(x, tf.float32)), x.dtype), gradient

    return apply(inputs)


def _gelu_erf(x: tf.Tensor) -> tf.Tensor:
    return 0.5 * x * (1.0 + tf.math.erf(x * math.sqrt(0.5)))


def _gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    # x * x * x: tf.pow, as tf.nn.gelu has it, is several times slower on a CPU
    return 0.5 * x * (1.0 + tf.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def _embed(
    config: BertConfig, input_ids: tf.Tensor, input_mask: tf.Tensor, options: GraphOptions
) -> tuple[tf.Tensor, tf.Tensor]:
    words = _variable("word_embeddings", [config.vocab_size, config.hidden_size], _normal(config))
    positions = _variable("position_embeddings", [config.max_position_embeddings, config.hidden_size], _normal(config))
    if options.use_one_hot_embeddings:
        one_hot = tf.one_hot(input_ids, config.vocab_size, dtype=options.compute_dtype)
        embedded = tf.cast(tf.matmul(one_hot, tf.cast(words, options.compute_dtype)), tf.float32)
    else:
        embedded = tf.gather(words, input_ids)
    embedded += tf.gather(positions, tf.cumsum(tf.cast(input_mask, tf.int32), axis=1, exclusive=True))
    embedded = _dropout(options.layer_norm(embedded, config.layer_norm_eps), config.hidden_dropout_prob, options)
    return tf.cast(embedded, options.compute_dtype), tf.convert_to_tensor(words)


def _layer(config: BertConfig, hidden: tf.Tensor, bias: tf.Tensor, options: GraphOptions) -> tf.Tensor:
    """One post-layer-norm transformer layer on hidden [batch * length, H]; bias [batch, 1, 1, length]."""
    with tf.compat.v1.variable_scope("attention"):
        with tf.compat.v1.variable_scope("self"):
            context = _self_attention(config, hidden, bias, options)
        with tf.compat.v1.variable_scope("output"):
            attended = _dense(config, context, config.hidden_size, options)
            attended = _dropout(attended, config.hidden_dropout_prob, options)
            attended = options.layer_norm(attended + hidden, config.layer_norm_eps)
    with tf.compat.v1.variable_scope("intermediate"):
        inner = activation(config.hidden_act)(_dense(config, attended, config.intermediate_size, options))
    with tf.compat.v1.variable_scope("output"):
        output = _dropout(_dense(config, inner, config.hidden_size, options), config.hidden_dropout_prob, options)
        return options.layer_norm(output + attended, config.layer_norm_eps)


def _self_attention(config: BertConfig, hidden: tf.Tensor, bias: tf.Tensor, options: GraphOptions) -> tf.Tensor:
    """Softmax(q · kᵀ / √d + bias) · v with the softmax in float32; [batch * length, H] in and out."""
    batch, length = bias.shape[0] or tf.shape(bias)[0], bias.shape[-1]
    head_size = config.hidden_size // config.num_attention_heads

    def heads(name: str) -> tf.Tensor:  # [batch, heads, length, head_size]
        projected = _dense(config, hidden, config.hidden_size, options, name=name)
        if name == "query":  # scaled here, where it is head_size and not length wide
            projected *= 1.0 / math.sqrt(head_size)
        return tf.transpose(tf.reshape(projected, [batch, length, config.num_attention_heads, head_size]), [0, 2, 1, 3])

    query, key, value = heads("query"), heads("key"), heads("value")
    scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32) + bias
    weights = _dropout(tf.nn.softmax(scores), config.attention_probs_dropout_prob, options)
    context = tf.matmul(tf.cast(weights, options.compute_dtype), value)
    return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, config.hidden_size])


def _span_transform(config: BertConfig, name: str, inputs: tf.Tensor, options: GraphOptions) -> tf.Tensor:
    with tf.compat.v1.variable_scope(name):
        hidden = activation(config.hidden_act)(_dense(config, inputs, config.hidden_size, options))
        return options.layer_norm(hidden, config.qass_layer_norm_eps)


def _dense(config: BertConfig, inputs: tf.Tensor, size: int, options: GraphOptions, name: str = "dense") -> tf.Tensor:
    with tf.compat.v1.variable_scope(name):
        kernel = _variable("kernel", [inputs.shape[-1], size], _normal(config), options.compute_dtype)
        bias = _variable("bias", [size], tf.compat.v1.zeros_initializer(), options.compute_dtype)
    return tf.nn.bias_add(tf.matmul(inputs, kernel), bias)


def _dropout(inputs: tf.Tensor, rate: float, options: GraphOptions) -> tf.Tensor:
    """Zeros a share `rate` of the inputs, another one for each variable scope, and scales the rest by 1 / (1 - rate).

    The mask is a function of options.dropout_key and the scope's name alone: no generator's state is lost when a
    session ends. Its bits come 16 a number, half as many as tf.nn.dropout draws, which in bfloat16 would know
    multiples of 1/128 only.
    """
    if options.dropout_key is None or not rate:
        return inputs
    scope = tf.compat.v1.get_variable_scope().name
    key = tf.random.experimental.stateless_fold_in(options.dropout_key, zlib.crc32(scope.encode()) & 0x7FFFFFFF)
    *outer, size = _shape(inputs)
    bits = tf.random.stateless_uniform([*outer, -(-size // 2)], key, minval=None, maxval=None, dtype=tf.int32)
    threshold = round((rate - 0.5) * 2**16) * 2**16
    kept = tf.concat([bits >= threshold, tf.bitwise.left_shift(bits, 16) >= threshold], -1)
    kept = kept[..., :size] if size % 2 else kept
    return tf.where(kept, inputs * tf.cast(1.0 / (1.0 - rate), inputs.dtype), tf.zeros([], inputs.dtype))


def _variable(
    name: str, shape: list[int], initializer: Callable[..., tf.Tensor], dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """A variable; where bfloat16 is asked for, bfloat16_scope keeps it in float32 and hands over a cast copy."""
    return tf.compat.v1.get_variable(name, shape, dtype=dtype, initializer=initializer, use_resource=True)


def _normal(config: BertConfig) -> Callable[..., tf.Tensor]:
    return tf.compat.v1.truncated_normal_initializer(stddev=config.initializer_range)


def _shape(tensor: tf.Tensor) -> list[tf.Tensor | int]:
    """Each dimension, static where known."""
    return [size or tf.shape(tensor)[axis] for axis, size in enumerate(tensor.shape.as_list())]


def _dimensions(tensor: tf.Tensor) -> tuple[tf.Tensor | int, int]:
    """batch (static where known) and length of [batch, length, ...]."""
    return tensor.shape[0] or tf.shape(tensor)[0], tensor.shape[1]
