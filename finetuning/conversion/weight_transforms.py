"""Changes to weights that keep, or begin, what a model knows: new head, folded embeddings, [QUESTION]'s row."""

import dataclasses
import zlib

import numpy as np

from finetuning.conversion import names
from finetuning.conversion.dialects import Source
from finetuning.conversion.tensors import Array
from kosplinter_common.cli import InputError

NEW_HEAD_SEED = 0
# relative error up to which a folded projection counts as the same function: float32 rounding
EXACT_FOLD_ERROR = 1e-5
_FOLD_SAMPLE = 2048  # (word, position) pairs on which a folded projection is measured


def with_new_head(source: Source) -> Source:
    """Adds an untrained span-selection head, as pretraining would begin it; a source with a head stays as it is."""
    if source.has_head:
        return source
    head: dict[str, Array] = {}
    for name, shape in names.head_shapes(source.config.hidden_size).items():
        if name.endswith(("/bias", "/beta")):
            head[name] = np.zeros(shape, np.float32)
        elif name.endswith("/gamma"):
            head[name] = np.ones(shape, np.float32)
        else:
            random = np.random.default_rng([NEW_HEAD_SEED, zlib.crc32(name.encode())])
            head[name] = random.normal(0, source.config.initializer_range, shape).astype(np.float32)
    return source.with_computed(head)


def fold_token_types(source: Source) -> Source:
    """Moves token type 0, which every token of pretraining has, into the position embeddings; drops the others.

    Zero rows change nothing, to the bit.
    """
    if names.TOKEN_TYPE_EMBEDDINGS not in source.shapes:
        return source
    row = source.read(names.TOKEN_TYPE_EMBEDDINGS)[0]
    folded = source
    if row.any():
        folded = source.with_computed({names.POSITION_EMBEDDINGS: source.read(names.POSITION_EMBEDDINGS) + row})
    return _without(folded, names.TOKEN_TYPE_EMBEDDINGS)


def append_question_row(source: Source, mask_id: int) -> Source:
    """One more word embedding, for [QUESTION]: a copy of [MASK]'s, which also stands where text was taken out."""
    words = source.read(names.WORD_EMBEDDINGS)
    config = dataclasses.replace(source.config, vocab_size=source.config.vocab_size + 1)
    return source.with_computed({names.WORD_EMBEDDINGS: np.concatenate([words, words[mask_id][None]])}, config)


def fold_projection(source: Source, max_error: float = EXACT_FOLD_ERROR) -> tuple[Source, float]:
    """Replaces ELECTRA's narrow embeddings and their projection by tables as wide as the encoder.

    ELECTRA computes W · LN(word + position) + b, we compute LN'(word' + position'). Between tables and projection
    stands a layer norm, so the two agree only where W · gamma keeps lengths up to one factor c and keeps a mean of
    zero: then word' = W · gamma · centred(word) / c, gamma' = c, beta' = W · beta + b. That needs an encoder at least
    as wide as the embeddings. How far the two are apart is measured on pairs of real rows.

    Returns:
      the source without projection (token types folded in first), and the relative error of its encoder inputs.

    Raises:
      InputError: the encoder is narrower, or the error is above `max_error`.
    """
    if names.PROJECTION_KERNEL not in source.shapes:
        return source, 0.0
    source = fold_token_types(source)
    kernel, bias = source.read(names.PROJECTION_KERNEL), source.read(names.PROJECTION_BIAS)
    narrow, wide = kernel.shape
    refusal = f"{source.reader.path}: embedding projection {narrow} to {wide} cannot be folded into the embeddings: "
    if narrow > wide:
        raise InputError(refusal + "the encoder is narrower than the embeddings, so tables of its width hold less")
    scaled = source.read(names.EMBEDDINGS_GAMMA)[:, None] * kernel
    # the layer norms before and behind take means out
    scaled = scaled - scaled.mean(0, keepdims=True)
    scaled -= scaled.mean(1, keepdims=True)
    # standard deviation, behind the projection, of what the narrow layer norm gives with deviation 1
    factor = np.sqrt((scaled**2).sum() / (narrow - 1) * narrow / wide).astype(np.float32)
    folded = source.with_computed(
        {
            names.WORD_EMBEDDINGS: source.read(names.WORD_EMBEDDINGS) @ scaled / factor,
            names.POSITION_EMBEDDINGS: source.read(names.POSITION_EMBEDDINGS) @ scaled / factor,
            names.EMBEDDINGS_GAMMA: np.full(wide, factor, np.float32),
            names.EMBEDDINGS_BETA: source.read(names.EMBEDDINGS_BETA) @ kernel + bias,
        }
    )
    folded = _without(folded, names.PROJECTION_KERNEL, names.PROJECTION_BIAS)
    error = _fold_error(source, folded)
    if error > max_error:
        raise InputError(
            refusal + f"a layer norm stands between them, and the best tables are off by {error:.1%} (allowed: "
            f"{max_error:.3%}); --max_projection_error={error + 0.005:.2f} takes them as a start"
        )
    return folded, error


def _without(source: Source, *parameters: str) -> Source:
    shapes = {name: shape for name, shape in source.shapes.items() if name not in parameters}
    return dataclasses.replace(source, shapes=shapes)


def _centred(rows: Array) -> Array:
    return rows - rows.mean(1, keepdims=True)


def _fold_error(exact: Source, folded: Source) -> float:
    """Relative error of encoder inputs, root mean square over sampled pairs of a word and a position."""
    random = np.random.default_rng(0)
    words = random.integers(exact.config.vocab_size, size=_FOLD_SAMPLE)
    positions = random.integers(exact.config.max_position_embeddings, size=_FOLD_SAMPLE)

    def embedded(source: Source) -> Array:
        rows = source.read(names.WORD_EMBEDDINGS)[words] + source.read(names.POSITION_EMBEDDINGS)[positions]
        deviation = np.sqrt(rows.var(1, keepdims=True) + source.config.layer_norm_eps)
        normed = _centred(rows) / deviation
        return normed * source.read(names.EMBEDDINGS_GAMMA) + source.read(names.EMBEDDINGS_BETA)

    expected = embedded(exact) @ exact.read(names.PROJECTION_KERNEL) + exact.read(names.PROJECTION_BIAS)
    return float(np.linalg.norm(embedded(folded) - expected) / np.linalg.norm(expected))
