"""Spills: payloads in the order of 64-bit keys, written by many jobs, gathered again by ranges of keys.

Keys are spread evenly over 64 bits, so a range of keys is a predictable share of all payloads: this is what lets a
corpus larger than memory be shuffled as a whole.
"""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kosplinter_common.files import atomic_file

_KEY_SPACE = 2**64
_WORD = 8  # bytes of a key, of an end, and of the number of payloads at the end of the file


class KeyRange(NamedTuple):
    """Keys from `low` to before `high`."""

    low: int
    high: int


def key_range(number: int, total: int) -> KeyRange:
    """Number `number` of `total` ranges of about equal size that cover all keys."""
    return KeyRange(-(-number * _KEY_SPACE // total), -(-(number + 1) * _KEY_SPACE // total))


def write_spill(
    path: Path,
    keys: npt.NDArray[np.uint64],
    ends: npt.NDArray[np.uint64],
    payloads: bytes | memoryview,
) -> None:
    """Writes payloads that stand one after the other, keys ascending; payload i ends at ends[i]."""
    with atomic_file(path) as partial, open(partial, "wb") as file:
        file.write(payloads)
        file.write(keys.astype("<u8").tobytes())
        file.write(ends.astype("<u8").tobytes())
        file.write(len(keys).to_bytes(_WORD, "little"))


def read_spilled(
    paths: Iterable[Path], keys_wanted: KeyRange
) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], bytes]]:
    """(keys, ends within the payloads, payloads) of each spill's part of a range of keys."""
    for path in paths:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = _part_of_spill(content, keys_wanted)
        if found is not None:
            yield found


def _part_of_spill(
    content: mmap.mmap, keys_wanted: KeyRange
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], bytes] | None:
    count = int.from_bytes(content[-_WORD:], "little")
    index_start = len(content) - _WORD * (2 * count + 1)
    keys = np.frombuffer(content, "<u8", count, index_start)
    ends = np.frombuffer(content, "<u8", count, index_start + _WORD * count)
    first = int(np.searchsorted(keys, np.uint64(keys_wanted.low)))
    last = count if keys_wanted.high == _KEY_SPACE else int(np.searchsorted(keys, np.uint64(keys_wanted.high)))
    if first == last:
        return None
    start = int(ends[first - 1]) if first else 0
    part = keys[first:last].copy(), ends[first:last].astype(np.int64) - start, content[start : int(ends[last - 1])]
    del keys, ends  # the map cannot be closed while arrays look into it
    return part
