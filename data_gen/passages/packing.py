"""Packing: which tokens of a document go into which record.

A document is the tokens of its segments, one after the other; a chunk is a range of them, and becomes one record.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PACKINGS = ("disjoint", "reference")
SPECIAL_TOKENS_PER_RECORD = 2  # [CLS] and [SEP]
# In documents of at least this many segments the chunks' borders move with the duplicate.
MIN_SEGMENTS_TO_MOVE_BORDERS = 10


class Chunk(NamedTuple):
    start: int
    end: int


def reference_chunks(segment_ends: npt.NDArray[np.int64], max_tokens: int, duplicate: int) -> list[Chunk]:
    """The public system's packing: the segment that closes a chunk is cut to fit, and starts the next chunk again.

    Of a segment that is longer than a whole record only the beginning is used.
    """
    chunks: list[Chunk] = []
    border = _moved_border(len(segment_ends), duplicate)
    chunk_start, length = 0, 0  # of the chunk at hand, of which `length` tokens are full so far
    segment_start = 0
    for number, segment_end in enumerate(segment_ends.tolist()):
        segment_length = segment_end - segment_start
        if length + segment_length > max_tokens or number == border:
            if length:
                chunks.append(Chunk(chunk_start, min(segment_end, chunk_start + max_tokens)))
            chunk_start, length = segment_start, 0
        length += min(segment_length, max_tokens)
        segment_start = segment_end
    if length:
        chunks.append(Chunk(chunk_start, chunk_start + length))
    return chunks


def disjoint_chunks(
    segment_ends: npt.NDArray[np.int64], max_tokens: int, duplicate: int, cuts: npt.NDArray[np.uint8] | None = None
) -> list[Chunk]:
    """Every token in exactly one chunk: what did not fit starts the next one.

    A chunk that is full ends at the last of the best places in its second half; cuts[i] says how good a place it is to
    end before token i (data_gen.passages.segments.Segments). Without `cuts` it ends where it is full.
    """
    border = _moved_border(len(segment_ends), duplicate)
    stops = sorted({int(segment_ends[border]), int(segment_ends[-1])} if border > 0 else {int(segment_ends[-1])})
    chunks: list[Chunk] = []
    start = 0
    for stop in stops:
        while start < stop:
            end = min(start + max_tokens, stop)
            if end < stop and cuts is not None:
                end -= int(cuts[start + max_tokens // 2 + 1 : end + 1][::-1].argmax())
            chunks.append(Chunk(start, end))
            start = end
    return chunks


def _moved_border(num_segments: int, duplicate: int) -> int:
    """The segment that closes a chunk wherever it stands; -1 for none."""
    return duplicate if num_segments >= MIN_SEGMENTS_TO_MOVE_BORDERS and duplicate < num_segments else -1
