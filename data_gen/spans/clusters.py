"""Recurring spans: the clusters of identical spans from which questions are made (Ram et al., ACL 2021, section 3.1).

A span is a run of wordpieces that occurs at least twice, is made of whole words, is not longer than a limit, is not
inside a longer recurring span at the same place, and is not made of stop words only. `BOUNDARIES` names the three
readings of "whole words".
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_gen.spans.exclusion import NOTHING_EXCLUDED, ExcludedNgrams, is_excluded
from data_gen.spans.hashing import PieceHashes, extend_hash, hash_set, in_hash_set, piece_hashes
from data_gen.spans.josa import JOSA_EOMI
from kosplinter_common.cli import InputError
from kosplinter_common.compilation import numba

CONTINUATION = "##"
_FIRST, _ALL, _PARTICLE = 0, 1, 2
# first: only a span's first occurrence is tested, stop words piece by piece, as the public reference does.
# all: every occurrence is tested, stop words by whole words, as the paper defines.
# particle: as "all", but josa and eomi may follow within the eojeol, so 서울에서 and 서울은 share the span 서울.
BOUNDARIES = {"first": _FIRST, "all": _ALL, "particle": _PARTICLE}
DEFAULT_MAX_SPAN_LENGTH = 10

Clusters = list[list[tuple[int, int]]]


class SpanTables(NamedTuple):
    """What the span rules ask about each piece of a vocabulary; arrays are indexed by token id."""

    is_continuation: npt.NDArray[np.bool_]  # a "##" piece
    is_content: npt.NDArray[np.bool_]  # letters and digits, or a "##" piece: may stand in a span
    is_stop_piece: npt.NDArray[np.bool_]  # the piece as it stands is a stop word (boundary "first")
    surface: PieceHashes  # lower-case text without "##": joined, the text of a word
    ngram: PieceHashes  # the piece and a space: joined, a line of ngrams.txt
    stop_words: npt.NDArray[np.uint64]  # hash set of whole words
    particles: npt.NDArray[np.uint64]  # hash set of josa and eomi
    excluded: ExcludedNgrams


def span_tables(
    vocabulary: Sequence[str],
    stopwords: Iterable[str] = (),
    particles: frozenset[str] = JOSA_EOMI,
    excluded: ExcludedNgrams = NOTHING_EXCLUDED,
) -> SpanTables:
    """Lookup tables for a vocabulary (token of each id)."""
    stopwords = frozenset(word.lower() for word in stopwords)
    is_continuation = np.array([piece.startswith(CONTINUATION) for piece in vocabulary], np.bool_)
    return SpanTables(
        is_continuation=is_continuation,
        is_content=is_continuation | np.array([piece.isalnum() for piece in vocabulary], np.bool_),
        is_stop_piece=np.array([piece.lower() in stopwords for piece in vocabulary], np.bool_),
        surface=piece_hashes(piece.removeprefix(CONTINUATION).lower() for piece in vocabulary),
        ngram=piece_hashes(piece + " " for piece in vocabulary),
        stop_words=hash_set(stopwords),
        particles=hash_set(particles),
        excluded=excluded,
    )


def boundary_code(boundary: str) -> int:
    """The number by which compiled code knows a boundary rule."""
    if boundary not in BOUNDARIES:
        raise InputError(f"span boundary: found {boundary!r}, expected one of {', '.join(BOUNDARIES)}")
    return BOUNDARIES[boundary]


def recurring_span_clusters(
    tokens: Sequence[str],
    max_span_length: int = DEFAULT_MAX_SPAN_LENGTH,
    stopwords: Iterable[str] = frozenset(),
    boundary: str = "all",
) -> Clusters:
    """Clusters of identical spans in a passage of wordpieces, longest spans first.

    Args:
      tokens: wordpieces; "##" marks those that continue a word.
      max_span_length: the longest span, in wordpieces.
      stopwords: a span of nothing but these is none.
      boundary: one of `BOUNDARIES`.

    Returns:
      Clusters of two or more (first position, last position), inclusive, ascending. No token is in two clusters.
      Clusters of one length stand in the order of their first piece's first place in the text, then of their own.
    """
    if max_span_length < 1:
        raise InputError(f"max_span_length: found {max_span_length}, expected 1 or more")
    pieces = list(dict.fromkeys(tokens))
    id_of = {piece: number for number, piece in enumerate(pieces)}
    ids = np.array([id_of[token] for token in tokens], np.int32)
    found = find_clusters(ids, span_tables(pieces, stopwords), boundary_code(boundary), max_span_length)
    starts = np.split(found.starts, found.ends[:-1]) if len(found.ends) else []
    return [
        [(int(start), int(start + length - 1)) for start in cluster]
        for cluster, length in zip(starts, found.lengths, strict=True)
    ]


class FoundClusters(NamedTuple):
    """Cluster c has the spans of lengths[c] pieces that begin at starts[ends[c - 1]:ends[c]]."""

    lengths: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]


class _Ngrams(NamedTuple):
    """Recurring n-grams of a passage, [max_span_length, tokens]: row n - 1 holds those of n pieces.

    An n-gram is known by its first start. Entries at other positions, and of n-grams that do not recur, are -1.
    """

    first: npt.NDArray[np.int32]  # start -> first start of the same n-gram
    following: npt.NDArray[np.int32]  # start -> next start of the same n-gram
    longest: int


class _Words(NamedTuple):
    """What the rules ask about each position's place in its word, [tokens + 1]."""

    may_end: npt.NDArray[np.bool_]  # a span may end before this position
    non_stop: npt.NDArray[np.int32]  # words that are no stop words and end before this position
    stop_so_far: npt.NDArray[np.bool_]  # the word up to and with this position is a stop word
    start: npt.NDArray[np.int32]  # first position of this position's word


@numba.njit(cache=True)
def _recurring_ngrams(ids: npt.NDArray[np.int32], tables: SpanTables, max_span_length: int) -> _Ngrams:
    """N-grams that recur, begin a word and hold only content: the tests that come out the same at every occurrence.

    N-grams of n pieces are told apart by (first start of the first n - 1 pieces, last piece) in a hash table, so the
    work is about proportional to the number of recurring n-grams.
    """
    size = len(ids)
    first = np.full((max_span_length, size), -1, np.int32)
    following = np.full((max_span_length, size), -1, np.int32)
    slots = 16
    while slots < 2 * size:
        slots *= 2
    keys = np.empty(slots, np.int64)
    owners = np.empty(slots, np.int32)
    filled_for = np.zeros(slots, np.int32)
    last = np.empty(size, np.int32)
    alive = np.empty(size, np.int32)
    num_alive = 0
    for i in range(size):
        if tables.is_content[ids[i]] and not tables.is_continuation[ids[i]]:
            alive[num_alive] = i
            num_alive += 1

    longest = 0
    for length in range(1, max_span_length + 1):
        row = length - 1
        kept = 0
        for a in range(num_alive):
            i = alive[a]
            end = i + row
            if end >= size or not tables.is_content[ids[end]]:
                continue
            alive[kept] = i
            kept += 1
            prefix = first[row - 1, i] if row else 0
            key = (np.int64(prefix) << 32) | np.int64(ids[end])
            slot = ((key * np.int64(0x1E3779B97F4A7C15)) >> 32) & (slots - 1)
            while filled_for[slot] == length and keys[slot] != key:
                slot = (slot + 1) & (slots - 1)
            if filled_for[slot] == length:
                owner = owners[slot]
                following[row, last[owner]] = i
            else:
                filled_for[slot] = length
                keys[slot] = key
                owners[slot] = i
                owner = i
            first[row, i] = owner
            last[owner] = i
        num_alive = 0
        for a in range(kept):
            i = alive[a]
            if following[row, first[row, i]] >= 0:
                alive[num_alive] = i
                num_alive += 1
            else:
                first[row, i] = -1
        if num_alive == 0:
            break
        longest = length
    return _Ngrams(first, following, longest)


@numba.njit(cache=True)
def _words(ids: npt.NDArray[np.int32], tables: SpanTables, boundary: int) -> _Words:
    size = len(ids)
    may_end = np.ones(size + 1, np.bool_)
    non_stop = np.zeros(size + 1, np.int32)
    stop_so_far = np.zeros(size + 1, np.bool_)
    start = np.zeros(size + 1, np.int32)
    text = np.uint64(0)
    for i in range(size):
        continues = i > 0 and tables.is_continuation[ids[i]]
        start[i] = start[i - 1] if continues else i
        non_stop[i] = non_stop[i - 1] if i else 0
        if not continues:
            if i > 0 and not stop_so_far[i - 1]:
                non_stop[i] += 1
            text = np.uint64(0)
        if boundary == _FIRST:
            stop_so_far[i] = tables.is_stop_piece[ids[i]]
        else:
            text = extend_hash(text, tables.surface, ids[i])
            stop_so_far[i] = in_hash_set(tables.stop_words, text)
        may_end[i] = not tables.is_continuation[ids[i]]
    if boundary == _PARTICLE:
        _allow_particles(ids, tables, may_end)
    return _Words(may_end, non_stop, stop_so_far, start)


@numba.njit(cache=True)
def _allow_particles(ids: npt.NDArray[np.int32], tables: SpanTables, may_end: npt.NDArray[np.bool_]) -> None:
    """A span may end before "##" pieces that make up, to the end of their word, one josa/eomi sequence."""
    tail = np.uint64(0)  # the text from i to the end of its word
    power = np.uint64(1)
    for i in range(len(ids) - 1, -1, -1):
        if not tables.is_continuation[ids[i]]:
            tail = np.uint64(0)
            power = np.uint64(1)
            continue
        tail += tables.surface.values[ids[i]] * power
        power *= tables.surface.powers[ids[i]]
        may_end[i] = in_hash_set(tables.particles, tail)


@numba.njit(cache=True)
def _only_stop_words(
    ids: npt.NDArray[np.int32], start: int, end: int, words: _Words, tables: SpanTables, boundary: int
) -> bool:
    if boundary == _FIRST:
        stop_pieces = 0
        for i in range(start, end):
            stop_pieces += tables.is_stop_piece[ids[i]]
        return stop_pieces == end - start
    last_word = words.start[end - 1]
    return words.non_stop[last_word] == words.non_stop[start] and words.stop_so_far[end - 1]


@numba.njit(cache=True)
def _may_be_used(
    ids: npt.NDArray[np.int32], start: int, end: int, words: _Words, tables: SpanTables, boundary: int
) -> bool:
    """The tests of an n-gram's text, at one of its occurrences."""
    if _only_stop_words(ids, start, end, words, tables, boundary):
        return False
    if len(tables.excluded.hashes) == 0:
        return True
    text = np.uint64(0)
    for i in range(start, end):
        text = extend_hash(text, tables.ngram, ids[i])
    return not is_excluded(tables.excluded, text)


@numba.njit(cache=True)
def _has_more_frequent_stem(
    ids: npt.NDArray[np.int32],
    start: int,
    length: int,
    ngrams: _Ngrams,
    occurrences: npt.NDArray[np.int32],
    tables: SpanTables,
) -> bool:
    """Whether the span is a stem and a particle, and the stem alone is a span with more occurrences.

    Then the stem stands under several particles, and its occurrences belong into one cluster.
    """
    tail = np.uint64(0)
    power = np.uint64(1)
    for stem in range(length - 1, 0, -1):
        piece = ids[start + stem]
        if not tables.is_continuation[piece]:
            return False
        tail += tables.surface.values[piece] * power
        power *= tables.surface.powers[piece]
        stem_owner = ngrams.first[stem - 1, start]
        own_occurrences = occurrences[length - 1, ngrams.first[length - 1, start]]
        if occurrences[stem - 1, stem_owner] > own_occurrences and in_hash_set(tables.particles, tail):
            return True
    return False


@numba.njit(cache=True)
def _count_occurrences(
    ids: npt.NDArray[np.int32], ngrams: _Ngrams, words: _Words, tables: SpanTables, boundary: int
) -> npt.NDArray[np.int32]:
    """Occurrences that end as the rule asks, by the n-gram's first start; 0 for n-grams that may not be used."""
    size = len(ids)
    occurrences = np.zeros(ngrams.first.shape, np.int32)
    for length in range(1, ngrams.longest + 1):
        row = length - 1
        for owner in range(size):
            if ngrams.first[row, owner] != owner:
                continue
            count = 0
            example = owner
            i = owner
            while i >= 0:
                # "first" looks at the first occurrence only, and all the others stand or fall with it
                if words.may_end[i + length] or (boundary == _FIRST and i != owner):
                    if count == 0:
                        example = i
                    count += 1
                elif boundary == _FIRST:
                    break
                i = ngrams.following[row, i]
            if count >= 2 and _may_be_used(ids, example, example + length, words, tables, boundary):
                occurrences[row, owner] = count
    return occurrences


@numba.njit(cache=True)
def _candidates(
    ids: npt.NDArray[np.int32],
    length: int,
    ngrams: _Ngrams,
    words: _Words,
    occurrences: npt.NDArray[np.int32],
    tables: SpanTables,
    boundary: int,
) -> npt.NDArray[np.int64]:
    """First valid occurrences of the n-grams of one length, in the order in which they may take their tokens.

    The order is that of the first place of their first piece in the text, then of their own place.
    """
    size = len(ids)
    row = length - 1
    keys = np.empty(size, np.int64)
    count = 0
    for owner in range(size):
        if ngrams.first[row, owner] != owner or occurrences[row, owner] < 2:
            continue
        if boundary == _PARTICLE and _has_more_frequent_stem(ids, owner, length, ngrams, occurrences, tables):
            continue
        start = owner
        while boundary != _FIRST and not words.may_end[start + length]:
            start = ngrams.following[row, start]
        keys[count] = np.int64(ngrams.first[0, owner]) * size + start
        count += 1
    ordered = np.sort(keys[:count])
    return ordered % max(size, 1)


@numba.njit(cache=True)
def find_clusters(ids: npt.NDArray[np.int32], tables: SpanTables, boundary: int, max_span_length: int) -> FoundClusters:
    """`recurring_span_clusters` on token ids.

    Longest first: a span takes its tokens, and an occurrence that touches a taken token is pruned. Taken spans are
    never shorter than the one at hand, so looking at its two ends is enough.
    """
    size = len(ids)
    ngrams = _recurring_ngrams(ids, tables, max_span_length)
    words = _words(ids, tables, boundary)
    occurrences = _count_occurrences(ids, ngrams, words, tables, boundary)
    taken = np.zeros(size, np.bool_)
    lengths = np.empty(size, np.int32)
    ends = np.empty(size, np.int32)
    starts = np.empty(size, np.int32)
    num_clusters = 0
    num_starts = 0
    for length in range(ngrams.longest, 0, -1):
        for candidate in _candidates(ids, length, ngrams, words, occurrences, tables, boundary):
            begin = num_starts
            free_from = 0
            i = candidate
            while i >= 0:
                may_end = boundary == _FIRST or words.may_end[i + length]
                if may_end and i >= free_from and not taken[i] and not taken[i + length - 1]:
                    starts[num_starts] = i
                    num_starts += 1
                    if boundary != _FIRST:
                        free_from = i + length
                i = ngrams.following[length - 1, i]
            if num_starts - begin < 2:
                num_starts = begin
                continue
            for i in starts[begin:num_starts]:
                taken[i : i + length] = True
            lengths[num_clusters] = length
            ends[num_clusters] = num_starts
            num_clusters += 1
    return FoundClusters(lengths[:num_clusters], ends[:num_clusters], starts[:num_starts])
