"""Random numbers for compiled code: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), one generator a chunk.

A generator is an array of one uint64. Seeding it with what a chunk is (seed, place in the corpus, duplicate) makes a
chunk's masking the same whichever process makes it, and whatever was made before.
"""

import numpy as np
import numpy.typing as npt

from data_gen.spans.hashing import scramble
from kosplinter_common.compilation import numba

_STEP = np.uint64(0x9E3779B97F4A7C15)
_UNIT = 2.0**-53

Generator = npt.NDArray[np.uint64]


@numba.njit(cache=True)
def seed_generator(generator: Generator, parts: npt.NDArray[np.int64]) -> None:
    """Starts a generator at a state that depends on every one of `parts`, and on their order."""
    state = np.uint64(len(parts))
    for part in parts:
        state = scramble(state + _STEP) ^ np.uint64(part)
    generator[0] = scramble(state + _STEP)


@numba.njit(cache=True, inline="always")
def next_uint64(generator: Generator) -> np.uint64:
    generator[0] += _STEP
    return scramble(generator[0])


@numba.njit(cache=True, inline="always")
def next_float(generator: Generator) -> np.float64:
    """Uniform in [0, 1)."""
    return np.float64(next_uint64(generator) >> np.uint64(11)) * _UNIT


@numba.njit(cache=True, inline="always")
def next_below(generator: Generator, bound: int) -> np.int64:
    """Uniform in 0 .. bound - 1, for bounds below 2**31 (the bias is below bound / 2**32)."""
    return np.int64(((next_uint64(generator) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@numba.njit(cache=True)
def shuffle(generator: Generator, values: npt.NDArray[np.int32]) -> None:
    """Shuffles in place (Fisher-Yates)."""
    for i in range(len(values) - 1, 0, -1):
        other = next_below(generator, i + 1)
        values[i], values[other] = values[other], values[i]
