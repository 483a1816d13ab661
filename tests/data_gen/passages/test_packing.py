"""Packing against its rules, written down as definitions: which chunks there must be, not how to come to them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.passages.packing import disjoint_chunks, reference_chunks

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=25)


def chunks_by_definition(lengths, max_tokens, duplicate):
    """The reference's chunks, as ranges.

    A segment closes the chunk that began with segment `first` if it is the first one behind it with which the chunk
    would be too long, or the one whose number is the duplicate's in a document of 10 or more. A chunk is all text from
    its first segment to the end of the one that closes it, cut to max_tokens, and that one begins the next chunk. Of a
    segment longer than a record only the beginning counts, and nothing may follow it.
    """
    starts = [sum(lengths[:number]) for number in range(len(lengths) + 1)]
    usable = [min(length, max_tokens) for length in lengths]

    def closes(first, number):
        is_border = len(lengths) >= 10 and number == duplicate
        return number > first and (sum(usable[first:number]) + lengths[number] > max_tokens or is_border)

    firsts = [0]
    while closers := [number for number in range(len(lengths)) if closes(firsts[-1], number)]:
        firsts.append(min(closers))
    ends = [starts[closer + 1] for closer in firsts[1:]] + [starts[-1]]
    return [(starts[first], min(end, starts[first] + max_tokens)) for first, end in zip(firsts, ends, strict=True)]


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 40), st.integers(0, 12))
def test_reference_packing(lengths, max_tokens, duplicate):
    chunks = reference_chunks(np.cumsum(lengths), max_tokens, duplicate)
    assert [tuple(chunk) for chunk in chunks] == chunks_by_definition(lengths, max_tokens, duplicate)


@pytest.mark.parametrize(
    ("lengths", "duplicate", "expected"),
    [
        ([4, 4, 4], 0, [(0, 10), (8, 12)]),  # the third fills the first chunk, and is whole again in the second
        ([4, 6, 1], 0, [(0, 10), (10, 11)]),  # nothing is left to fill
        ([25, 3], 0, [(0, 10), (25, 28)]),  # 15 tokens of the first segment are lost
        ([3, 25, 3], 0, [(0, 10), (3, 13), (28, 31)]),
        ([2] * 10, 3, [(0, 8), (6, 16), (16, 20)]),  # segment 3 closes the first chunk, which is not full
        ([2] * 9, 3, [(0, 10), (10, 18)]),  # too few segments for moved borders
        ([2] * 10, 0, [(0, 10), (10, 20)]),  # there is no chunk that segment 0 could close
        ([1] * 10 + [25], 1, [(0, 2), (1, 11), (10, 20)]),
    ],
)
def test_reference_packing_by_hand(lengths, duplicate, expected):
    assert [tuple(chunk) for chunk in reference_chunks(np.cumsum(lengths), 10, duplicate)] == expected
    assert chunks_by_definition(lengths, 10, duplicate) == expected


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 40), st.integers(0, 12), st.data())
def test_disjoint_packing(lengths, max_tokens, duplicate, data):
    """Every token once; a chunk is full but for the search of the best place, or ends at the border or the end."""
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    cuts = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=total + 1, max_size=total + 1))
    chunks = disjoint_chunks(ends, max_tokens, duplicate, None if cuts is None else np.array(cuts, np.uint8))
    assert chunks[0].start == 0 and chunks[-1].end == total
    assert all(before.end == after.start for before, after in pairwise(chunks))
    assert all(0 < chunk.end - chunk.start <= max_tokens for chunk in chunks)
    stops = {total} | ({int(ends[duplicate])} if len(lengths) >= 10 and 0 < duplicate < len(lengths) else set())
    assert stops <= {chunk.end for chunk in chunks}
    for start, end in chunks:
        full = min([start + max_tokens, *(stop for stop in stops if stop > start)])
        if full in stops or cuts is None:
            assert end == full
            continue
        second_half = range(start + max_tokens // 2 + 1, full + 1)
        best = max(cuts[place] for place in second_half)
        assert end == max(place for place in second_half if cuts[place] == best)


def test_borders_move_with_the_duplicate():
    ends = np.cumsum([5] * 12)
    assert [chunk.end for chunk in disjoint_chunks(ends, 30, 0)] == [30, 60]
    assert [chunk.end for chunk in disjoint_chunks(ends, 30, 3)] == [20, 50, 60]
    assert [tuple(chunk) for chunk in reference_chunks(ends, 30, 3)] == [(0, 20), (15, 45), (45, 60)]
    assert disjoint_chunks(ends[:9], 30, 3) == disjoint_chunks(ends[:9], 30, 0)
