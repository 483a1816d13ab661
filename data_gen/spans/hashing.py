"""64-bit hashes of token text that can be put together piece by piece, and sets of them, for compiled code."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kosplinter_common.compilation import numba

# A polynomial over the text's UTF-8 bytes modulo 2**64: hash(ab) = hash(a) * BASE**len(b) + hash(b).
_BASE = 0x9E3779B97F4A7C15
_EMPTY = 0  # marks a free slot of a set


class PieceHashes(NamedTuple):
    """hash and BASE**length of each piece of a vocabulary, uint64 [vocabulary size]."""

    values: npt.NDArray[np.uint64]
    powers: npt.NDArray[np.uint64]


def text_hash(text: str) -> int:
    """The polynomial hash of a text's UTF-8 bytes."""
    return int(piece_hashes([text]).values[0])


def piece_hashes(pieces: Iterable[str]) -> PieceHashes:
    """Hashes of `pieces` in the form that `extend_hash` puts together."""
    encoded = [piece.encode() for piece in pieces]
    ends = np.cumsum([len(piece) for piece in encoded], dtype=np.int64)
    return _hash_texts(np.frombuffer(b"".join(encoded), np.uint8), ends)


@numba.njit(cache=True)
def _hash_texts(text: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> PieceHashes:
    values = np.zeros(len(ends), np.uint64)
    powers = np.ones(len(ends), np.uint64)
    start = 0
    for i in range(len(ends)):
        for byte in text[start : ends[i]]:
            values[i] = extend_hash_by_byte(values[i], byte)
            powers[i] *= np.uint64(_BASE)
        start = ends[i]
    return PieceHashes(values, powers)


@numba.njit(cache=True, inline="always")
def extend_hash(value: np.uint64, hashes: PieceHashes, piece: int) -> np.uint64:
    """The hash of a text followed by one more piece."""
    return value * hashes.powers[piece] + hashes.values[piece]


@numba.njit(cache=True, inline="always")
def extend_hash_by_byte(value: np.uint64, byte: int) -> np.uint64:
    """The hash of a text followed by one more byte."""
    return value * np.uint64(_BASE) + np.uint64(byte) + np.uint64(1)


@numba.njit(cache=True, inline="always")
def scramble(value: np.uint64) -> np.uint64:
    """Spreads a 64-bit value evenly (the finaliser of SplitMix64, Steele et al. 2014). One to one."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@lru_cache(maxsize=8)
def hash_set(texts: frozenset[str]) -> npt.NDArray[np.uint64]:
    """An open-addressed table of the texts' hashes, for `in_hash_set`; at most half full."""
    values = np.unique(piece_hashes(texts).values)
    table = np.full(1 << max(1, (2 * len(values)).bit_length()), _EMPTY, np.uint64)
    for value in values:
        _insert(table, value)
    return table


@numba.njit(cache=True)
def _insert(table: npt.NDArray[np.uint64], value: np.uint64) -> None:
    slot = np.int64(scramble(value) & np.uint64(len(table) - 1))
    while table[slot] != _EMPTY:
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = value


@numba.njit(cache=True, inline="always")
def in_hash_set(table: npt.NDArray[np.uint64], value: np.uint64) -> bool:
    slot = np.int64(scramble(value) & np.uint64(len(table) - 1))
    while table[slot] != _EMPTY:
        if table[slot] == value:
            return True
        slot = (slot + 1) & (len(table) - 1)
    return False
