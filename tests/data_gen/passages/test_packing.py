"""Packing against a slow rewrite of the reference's rules, and disjoint packing against its promise."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.passages.packing import disjoint_chunks, reference_chunks

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=25)


def naive_reference_chunks(segments, max_tokens, duplicate):
    """Chunks as lists of tokens; segments are lists of tokens."""
    chunks, current = [], []
    for i, segment in enumerate(segments):
        full = len(current) + len(segment) > max_tokens
        if full or (len(segments) >= 10 and i % len(segments) == duplicate):
            if current:
                chunks.append(current + segment[: max_tokens - len(current)])
            current = []
            segment = segment[:max_tokens]
        current = current + segment
    return [*chunks, current]


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 40), st.integers(0, 12))
def test_reference_packing(lengths, max_tokens, duplicate):
    ends = np.cumsum(lengths)
    tokens = list(range(ends[-1]))
    segments = [tokens[end - length : end] for length, end in zip(lengths, ends, strict=True)]
    chunks = [tokens[chunk.start : chunk.end] for chunk in reference_chunks(ends, max_tokens, duplicate)]
    assert chunks == naive_reference_chunks(segments, max_tokens, duplicate)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 40), st.integers(0, 12))
def test_disjoint_packing_has_every_token_once(lengths, max_tokens, duplicate):
    ends = np.cumsum(lengths)
    chunks = disjoint_chunks(ends, max_tokens, duplicate)
    assert [token for chunk in chunks for token in range(chunk.start, chunk.end)] == list(range(ends[-1]))
    assert all(0 < chunk.end - chunk.start <= max_tokens for chunk in chunks)


def test_borders_move_with_the_duplicate():
    ends = np.cumsum([5] * 12)
    assert [chunk.end for chunk in disjoint_chunks(ends, 30, 0)] == [30, 60]
    assert [chunk.end for chunk in disjoint_chunks(ends, 30, 3)] == [20, 50, 60]
    assert [tuple(chunk) for chunk in reference_chunks(ends, 30, 3)] == [(0, 20), (15, 45), (45, 60)]
    assert disjoint_chunks(ends[:9], 30, 3) == disjoint_chunks(ends[:9], 30, 0)
