"""--initializer=structured: initial values with which span selection begins to learn at once.

In the spirit of mimetic initialisation (Trockman and Kolter 2023, arXiv 2305.09828): only the initial values of BERT's
standard variables are set, so a checkpoint stays one of BERT's. Before the first step, layer 0 looks at the tokens
around each position, and QASS scores how much two contexts are alike. NumPy only, for any training loop.

With hidden size H, the first P dimensions of the embeddings hold positions, the others words; P is the head size d, or
half of it where there is only one head.

1. Positions are sines and cosines, each pair a fixed rotation further with every token; words are 0 there.
2. In layer 0 head h compares position i + o_h with every position, for the offsets o_h -1, +1, -2, +2, …; it carries
   the words found there on, through an orthogonal map.
3. QASS maps the words of questions and of candidates by the same orthogonal matrix; its classifiers are multiples of I.
4. Everything else is BERT's: a truncated normal of `initializer_range`, biases 0, layer norms 1.
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kosplinter_common.cli import InputError
from pretraining.model.configuration import BertConfig

Array = npt.NDArray[np.float32]

# Radians a token, the fastest and the slowest pair.
FASTEST, SLOWEST = 2.0, 1 / 32
# Attention scores of layer 0 are this many times √d at the offset a head looks at.
SHARPNESS = 4.0
# A position's similarity to itself is about this many times H, before training.
SIMILARITY = 0.06
_LAYER_0 = "bert/encoder/layer_0/attention"
_SPANS = "cls/span_predictions"


def initial_values(shapes: Mapping[str, Sequence[int]], config: BertConfig, seed: int) -> dict[str, Array]:
    """Initial values of all trainable variables, float32.

    Args:
      shapes: {variable name, as in Google's BERT: shape}; kernels are [inputs, outputs].
      config: the model's.
      seed: equal seeds give equal values, whatever else is in `shapes`.

    Raises:
      InputError: the head size is odd, or too small for a pair of position dimensions.
    """
    values = {name: _berts(name, shape, config, seed) for name, shape in shapes.items()}
    structured = _structured(config, seed, values)
    return values | {name: value for name, value in structured.items() if name in shapes}


def position_embeddings(config: BertConfig) -> Array:
    """[max_position_embeddings, H]: a sine and a cosine of each frequency in the first P dimensions, 0 elsewhere."""
    width = position_dimensions(config)
    angles = np.arange(config.max_position_embeddings)[:, None] * _frequencies(width)
    table = np.zeros((config.max_position_embeddings, config.hidden_size))
    # After layer norm a dimension of these weighs as much as one of the words: the mean square of a sine is 1/2.
    table[:, :width] = math.sqrt(2) * config.initializer_range * _interleave(np.sin(angles), np.cos(angles))
    return table.astype(np.float32)


def position_dimensions(config: BertConfig) -> int:
    """P. Raises InputError where the head size allows none."""
    head_size = config.hidden_size // config.num_attention_heads
    width = head_size if config.num_attention_heads > 1 else head_size // 4 * 2
    if head_size % 2 or width < 2:
        raise InputError(f"--initializer=structured: found a head size of {head_size}, expected an even one")
    return width


def offsets(num_heads: int) -> list[int]:
    """Where each head of layer 0 looks: -1, +1, -2, +2, …"""
    return [(head // 2 + 1) * (1 if head % 2 else -1) for head in range(num_heads)]


def _structured(config: BertConfig, seed: int, values: Mapping[str, Array]) -> dict[str, Array]:
    """The variables that differ from BERT's."""
    size, width = config.hidden_size, position_dimensions(config)
    head_size = size // config.num_attention_heads
    words = values["bert/embeddings/word_embeddings"].copy()
    words[:, :width] = 0
    query, key = np.zeros((size, size)), np.zeros((size, size))
    for head, offset in enumerate(offsets(config.num_attention_heads)):
        columns = slice(head * head_size, head * head_size + width)
        key[:width, columns] = math.sqrt(SHARPNESS) * np.eye(width)
        query[:width, columns] = math.sqrt(SHARPNESS) * _rotation(width, offset)
    result = {
        "bert/embeddings/word_embeddings": words,
        "bert/embeddings/position_embeddings": position_embeddings(config),
        f"{_LAYER_0}/self/query/kernel": query,
        f"{_LAYER_0}/self/key/kernel": key,
        f"{_LAYER_0}/self/value/kernel": _orthogonal_map_of_words(size, width, seed, "value"),
        f"{_LAYER_0}/output/dense/kernel": _orthogonal(size, seed, "output"),
    }
    for side in ("start", "end"):
        kernel = _orthogonal_map_of_words(size, width, seed, side)
        result[f"{_SPANS}/query_{side}_transform/dense/kernel"] = kernel
        result[f"{_SPANS}/{side}_transform/dense/kernel"] = kernel
        result[f"{_SPANS}/{side}_classifier"] = SIMILARITY * np.eye(size)
    return {name: np.asarray(value, np.float32) for name, value in result.items()}


def _frequencies(width: int) -> npt.NDArray[np.float64]:
    """Radians a token of each pair of dimensions, [P / 2]."""
    return np.geomspace(FASTEST, SLOWEST, width // 2)


def _interleave(first: npt.NDArray, second: npt.NDArray) -> npt.NDArray:
    """[..., n] and [..., n] as [..., 2 n], by turns."""
    return np.stack([first, second], -1).reshape(*first.shape[:-1], -1)


def _rotation(width: int, offset: int) -> npt.NDArray[np.float64]:
    """[P, P]: the position embedding of i times this is that of i + offset, as rows."""
    matrix = np.zeros((width, width))
    for pair, frequency in enumerate(_frequencies(width)):
        sine, cosine = math.sin(offset * frequency), math.cos(offset * frequency)
        matrix[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = [[cosine, -sine], [sine, cosine]]
    return matrix


def _orthogonal_map_of_words(size: int, width: int, seed: int, name: str) -> npt.NDArray[np.float64]:
    """[H, H]: an orthogonal matrix whose rows for the positions are 0."""
    matrix = _orthogonal(size, seed, name)
    matrix[:width] = 0
    return matrix


def _orthogonal(size: int, seed: int, name: str) -> npt.NDArray[np.float64]:
    """A random orthogonal matrix [H, H]; the signs of R's diagonal make it uniform (Mezzadri 2007)."""
    q, r = np.linalg.qr(_generator(seed, name).standard_normal((size, size)))
    return q * np.sign(np.diag(r))


def _berts(name: str, shape: Sequence[int], config: BertConfig, seed: int) -> Array:
    """BERT's initial value of a variable."""
    if name.endswith("/gamma"):
        return np.ones(shape, np.float32)
    if name.endswith(("/bias", "/beta", "_bias")):
        return np.zeros(shape, np.float32)
    generator = _generator(seed, name)
    values = generator.standard_normal(shape, dtype=np.float32)
    while (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(int(outside.sum()), dtype=np.float32)
    return values * np.float32(config.initializer_range)


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng((seed, zlib.crc32(name.encode())))
