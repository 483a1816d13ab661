"""N-grams that earlier corpora already used (--exclude_ngrams): 64-bit hashes in a sorted, memory-mapped array.

A wrong hit needs two n-grams of one hash: among 100 million, one in 2e11 lookups.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from data_gen.spans.hashing import extend_hash_by_byte, scramble
from kosplinter_common.cli import InputError
from kosplinter_common.compilation import numba
from kosplinter_common.files import atomic_file

_BUCKET_BITS = 16
_BLOCK_BYTES = 32 << 20
_TAB, _NEWLINE, _SPACE = 9, 10, 32


class ExcludedNgrams(NamedTuple):
    """hashes: sorted, uint64. bucket_starts: where hashes with each leading 16 bits begin, int64 [2**16 + 1]."""

    hashes: npt.NDArray[np.uint64]
    bucket_starts: npt.NDArray[np.int64]


NOTHING_EXCLUDED = ExcludedNgrams(np.empty(0, np.uint64), np.zeros((1 << _BUCKET_BITS) + 1, np.int64))


def load_excluded(paths: Sequence[str], hash_file: Path) -> ExcludedNgrams:
    """The n-grams of ngrams.txt files; their sorted hashes are kept in `hash_file`, 8 bytes each, and mapped.

    Raises:
      InputError: a file has a line that is not an n-gram, a tab, and a count.
    """
    if not paths:
        return NOTHING_EXCLUDED
    with atomic_file(hash_file) as partial:
        with open(partial, "wb") as file:
            for path in paths:
                _write_hashes(path, file)
        if partial.stat().st_size:
            np.memmap(partial, np.uint64, "r+").sort()
    if not hash_file.stat().st_size:
        return NOTHING_EXCLUDED
    # "c": writable in memory only, so that compiled code sees the same type as that of an ordinary array
    hashes = np.asarray(np.memmap(hash_file, np.uint64, "c"))
    boundaries = np.arange(1 << _BUCKET_BITS, dtype=np.uint64) << np.uint64(64 - _BUCKET_BITS)
    return ExcludedNgrams(hashes, np.append(np.searchsorted(hashes, boundaries), len(hashes)).astype(np.int64))


def _write_hashes(path: str, file: BinaryIO) -> None:
    lines_before = 0
    rest = b""
    with open(path, "rb") as ngrams:
        while block := ngrams.read(_BLOCK_BYTES):
            block = rest + block
            end = block.rfind(b"\n") + 1
            rest = block[end:]
            lines_before += _write_block(block[:end], path, lines_before, file)
    _write_block(rest + b"\n" if rest else b"", path, lines_before, file)


def _write_block(block: bytes, path: str, lines_before: int, file: BinaryIO) -> int:
    """Writes the hashes of whole lines; returns their number."""
    hashes, has_tab = _line_hashes(np.frombuffer(block, np.uint8), block.count(b"\n"))
    if not has_tab.all():
        number = int(np.argmin(has_tab))
        line = block.split(b"\n")[number][:80].decode("utf-8", "replace")
        where = f"{path}: line {lines_before + number + 1}"
        raise InputError(f"{where}: found {line!r}, expected an n-gram, a tab, a count")
    file.write(hashes.tobytes())
    return len(hashes)


@numba.njit(cache=True)
def _line_hashes(block: npt.NDArray[np.uint8], num_lines: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """The hash of each line's text before its tab, as `is_excluded` looks for it, and whether it has a tab."""
    hashes = np.empty(num_lines, np.uint64)
    has_tab = np.zeros(num_lines, np.bool_)
    line = 0
    value = np.uint64(0)
    for byte in block:
        if byte == _NEWLINE:
            line += 1
            value = np.uint64(0)
        elif byte == _TAB and not has_tab[line]:
            has_tab[line] = True
            hashes[line] = scramble(extend_hash_by_byte(value, _SPACE))
        else:
            value = extend_hash_by_byte(value, byte)
    return hashes, has_tab


@numba.njit(cache=True)
def is_excluded(excluded: ExcludedNgrams, text: np.uint64) -> bool:
    """Whether an n-gram is in the set; `text` is the hash of its pieces, each with a space behind it."""
    value = scramble(text)
    bucket = np.int64(value >> np.uint64(64 - _BUCKET_BITS))
    low = excluded.bucket_starts[bucket]
    high = excluded.bucket_starts[bucket + 1]
    while low < high:
        middle = (low + high) // 2
        if excluded.hashes[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(excluded.hashes) and excluded.hashes[low] == value
