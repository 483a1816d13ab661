"""ngrams.txt: how often each masked span was masked, counted and merged in bounded memory."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_gen.spans.hashing import scramble
from data_gen.storage.spills import KeyRange, Spill, read_spilled, write_spill
from kosplinter_common.compilation import numba
from kosplinter_common.files import atomic_file

NGRAMS_FILE = "ngrams.txt"
_MAX_LOAD = 0.75
_READ_ROWS = 1 << 16


class NgramCounts(NamedTuple):
    """An open-addressed table of n-grams of token ids; a free slot has count 0.

    ids: [slots, max_span_length], padded with -1. counts: [slots]. used: [1], the number of n-grams.
    """

    ids: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]


def ngram_counts(slots: int, max_span_length: int) -> NgramCounts:
    """An empty table; `slots` is a power of two."""
    return NgramCounts(
        np.full((slots, max_span_length), -1, np.int32), np.zeros(slots, np.int64), np.zeros(1, np.int64)
    )


@numba.njit(cache=True)
def is_filled(table: NgramCounts) -> bool:
    return table.used[0] > _MAX_LOAD * len(table.counts)


@numba.njit(cache=True)
def _ngram_key(ids: npt.NDArray[np.int32]) -> np.uint64:
    key = np.uint64(0)
    for token in ids:
        if token < 0:
            break
        key = scramble(key + np.uint64(token) + np.uint64(1))
    return key


@numba.njit(cache=True)
def count_ngram(table: NgramCounts, ids: npt.NDArray[np.int32]) -> None:
    """Adds one n-gram; the table must have a free slot."""
    slots = len(table.counts)
    slot = np.int64(_ngram_key(ids) & np.uint64(slots - 1))
    while table.counts[slot]:
        same = True
        for i in range(table.ids.shape[1]):
            if table.ids[slot, i] != (ids[i] if i < len(ids) else -1):
                same = False
                break
        if same:
            break
        slot = (slot + 1) & (slots - 1)
    if table.counts[slot] == 0:
        table.ids[slot, : len(ids)] = ids
        table.used[0] += 1
    table.counts[slot] += 1


@numba.njit(cache=True)
def _keys(rows: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    keys = np.empty(len(rows), np.uint64)
    for i in range(len(rows)):
        keys[i] = _ngram_key(rows[i])
    return keys


def _row_type(max_span_length: int) -> np.dtype:
    # Big-endian ids plus one, so that the order of the bytes is that of the ids, and a shorter n-gram comes first.
    return np.dtype([("ids", ">u4", (max_span_length,)), ("count", "<u8")])


def spill_ngrams(table: NgramCounts, path: Path) -> Spill:
    """Writes the table's n-grams to a spill."""
    filled = np.flatnonzero(table.counts)
    keys = _keys(table.ids[filled])
    order = np.argsort(keys, kind="stable")
    rows = np.empty(len(filled), _row_type(table.ids.shape[1]))
    rows["ids"] = table.ids[filled[order]] + 1
    rows["count"] = table.counts[filled[order]]
    ends = np.arange(1, len(rows) + 1, dtype=np.uint64) * np.uint64(rows.dtype.itemsize)
    return write_spill(path, keys[order], ends, rows.tobytes())


def clear_ngrams(table: NgramCounts) -> None:
    """Empties a table."""
    table.ids[:] = -1
    table.counts[:] = 0
    table.used[0] = 0


def merge_ngrams(spills: Sequence[Path], key_range: KeyRange, max_span_length: int, output: Path) -> int:
    """Sums the counts of the n-grams in one range of keys; writes them most frequent first, returns their number."""
    row_type = _row_type(max_span_length)
    rows = np.frombuffer(b"".join(payload for _, _, payload in read_spilled(spills, key_range)), row_type)
    merged = np.empty(0, row_type)
    if len(rows):
        text = np.ascontiguousarray(rows["ids"]).view(f"S{4 * max_span_length}").ravel()
        order = np.argsort(text, kind="stable")
        text, counts = text[order], rows["count"][order]
        starts = np.flatnonzero(np.concatenate([[True], text[1:] != text[:-1]]))
        merged = np.empty(len(starts), row_type)
        merged["ids"] = rows["ids"][order[starts]]
        merged["count"] = np.add.reduceat(counts, starts)
        # stable: n-grams of one count stay in the order of their ids
        merged = merged[np.argsort(-merged["count"].astype(np.int64), kind="stable")]
    with atomic_file(output, durable=True) as partial:
        partial.write_bytes(merged.tobytes())
    return len(merged)


def _sorted_rows(path: Path, row_type: np.dtype) -> Iterator[tuple[int, tuple[int, ...]]]:
    with open(path, "rb") as file:
        while data := file.read(row_type.itemsize * _READ_ROWS):
            rows = np.frombuffer(data, row_type)
            for count, ids in zip(rows["count"].tolist(), rows["ids"].tolist(), strict=True):
                yield -count, tuple(ids)


def write_ngrams(merged: Iterable[Path], max_span_length: int, tokens: Sequence[str], output: Path) -> None:
    """Writes ngrams.txt from files of `merge_ngrams`: pieces with spaces between them, a tab, the count.

    Most frequent first; n-grams of one count in the order of their token ids.
    """
    row_type = _row_type(max_span_length)
    with atomic_file(output) as partial, open(partial, "w", encoding="utf-8") as file:
        for negative_count, ids in heapq.merge(*(_sorted_rows(path, row_type) for path in merged)):
            file.write(f"{' '.join(tokens[token - 1] for token in ids if token)}\t{-negative_count}\n")
