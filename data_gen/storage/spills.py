"""Spills: payloads in the order of 64-bit keys, written by many jobs, gathered again by ranges of keys.

Keys are spread evenly over 64 bits, so a range of keys is a predictable share of all payloads: this is what lets a
corpus larger than memory be shuffled as a whole. Records are spilled in a few groups of keys, each a file of its own,
so that what is gathered can be deleted before everything is.
"""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from kosplinter_common.files import atomic_file

NUM_GROUPS = 8
_KEY_SPACE = 2**64
_WORD = 8  # bytes of a key, of an end, and of the number of payloads at the end of the file
_READ_BYTES = 1 << 20


class KeyRange(NamedTuple):
    """Keys from `low` to before `high`."""

    low: int
    high: int


def key_range(number: int, total: int) -> KeyRange:
    """Number `number` of `total` ranges of about equal size that cover all keys."""
    return KeyRange(-(-number * _KEY_SPACE // total), -(-(number + 1) * _KEY_SPACE // total))


def groups_of(keys_wanted: KeyRange) -> range:
    """The groups that hold a range of keys."""
    first, last = (key * NUM_GROUPS // _KEY_SPACE for key in (keys_wanted.low, keys_wanted.high - 1))
    return range(first, last + 1)


class Spill(NamedTuple):
    """A spill file: its name, the group of keys it holds (of n-grams 0), its size and its CRC-32C."""

    name: str
    group: int
    bytes: int
    crc32c: int


def write_spill(
    path: Path, keys: npt.NDArray[np.uint64], ends: npt.NDArray[np.uint64], payloads: bytes | memoryview, group: int = 0
) -> Spill:
    """Writes payloads that stand one after the other, keys ascending; payload i ends at ends[i]."""
    with atomic_file(path, durable=True) as partial:
        with open(partial, "wb") as file:
            file.write(payloads)
            file.write(keys.astype("<u8").tobytes())
            file.write(ends.astype("<u8").tobytes())
            file.write(len(keys).to_bytes(_WORD, "little"))
        return spill_at(partial)._replace(name=path.name, group=group)


def spill_at(path: Path) -> Spill:
    """What a file of records or n-grams holds, to be compared with later."""
    size, checksum = 0, 0
    with open(path, "rb") as file:
        while chunk := file.read(_READ_BYTES):
            size, checksum = size + len(chunk), google_crc32c.extend(checksum, chunk)
    return Spill(path.name, 0, size, checksum)


def is_whole(folder: Path, spill: Spill) -> bool:
    """Whether the file is there and holds what was written."""
    path = folder / spill.name
    return path.is_file() and path.stat().st_size == spill.bytes and spill_at(path) == spill._replace(group=0)


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
