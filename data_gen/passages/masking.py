"""Masking schemes: recurring span selection, masked language modelling by piece, word or geometric span, and both."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_gen.passages.random_numbers import Generator, next_below, next_float, shuffle
from data_gen.passages.tokenization import CLS, MASK, PAD, QUESTION, SEP, SPECIAL_TOKENS, Vocabulary
from data_gen.spans.clusters import CONTINUATION, FoundClusters, boundary_code
from kosplinter_common.cli import InputError
from kosplinter_common.compilation import numba
from kosplinter_common.records.examples import RecordSpec

# Of the tokens chosen for language modelling (Devlin et al., 2019, section 3.1).
_MASK_SHARE, _RANDOM_SHARE = 0.8, 0.1
_BY_PIECE, _BY_WORD, _BY_GEOMETRIC_SPAN = 0, 1, 2
# Draws of a length that fits nowhere, in a row, after which a passage is full.
_MAX_FUTILE_DRAWS = 100


@dataclass(frozen=True)
class MaskingConfig:
    """Which tokens of a record are masked, and how.

    max_questions_per_seq and max_predictions_per_seq are 0 where recurring spans, or language modelling, are off.
    """

    max_seq_length: int = 512
    max_questions_per_seq: int = 30
    max_predictions_per_seq: int = 0
    max_span_length: int = 10
    span_boundary: str = "all"
    masked_lm_prob: float = 0.15  # share of tokens, of questions and of predictions alike
    do_whole_word_mask: bool = False
    geometric_masking_p: float = 0.0  # above 0: spans of geometric length (Joshi et al., SpanBERT, 2020, section 3.1)

    def __post_init__(self) -> None:
        for name, lowest in {
            "max_seq_length": 3,
            "max_questions_per_seq": 0,
            "max_predictions_per_seq": 0,
            "max_span_length": 1,
        }.items():
            if getattr(self, name) < lowest:
                raise InputError(f"{name}: found {getattr(self, name)}, expected {lowest} or more")
        if not 0 < self.masked_lm_prob <= 1:
            raise InputError(f"masked_lm_prob: found {self.masked_lm_prob}, expected above 0 and at most 1")
        if not 0 <= self.geometric_masking_p < 1:
            raise InputError(f"geometric_masking_p: found {self.geometric_masking_p}, expected at least 0, below 1")
        if self.geometric_masking_p and self.do_whole_word_mask:
            raise InputError("do_whole_word_mask and geometric_masking_p: geometric spans are whole words; choose one")
        if not self.max_questions_per_seq and not self.max_predictions_per_seq:
            raise InputError("nothing to learn: neither recurring spans nor masked language modelling is on")
        boundary_code(self.span_boundary)

    @property
    def record_spec(self) -> RecordSpec:
        return RecordSpec(self.max_seq_length, self.max_questions_per_seq, self.max_predictions_per_seq)


class MaskingRules(NamedTuple):
    """A MaskingConfig and a vocabulary, as compiled code takes them."""

    max_seq_length: int
    max_questions: int
    max_predictions: int
    max_span_length: int
    boundary: int
    masked_share: float
    lm_unit: int
    length_cdf: npt.NDArray[np.float64]  # of geometric span lengths 1, 2, ...
    is_special: npt.NDArray[np.bool_]  # by token id
    is_continuation: npt.NDArray[np.bool_]  # by token id
    regular_ids: npt.NDArray[np.int32]  # tokens that may replace another one
    pad_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    question_id: int


def masking_rules(config: MaskingConfig, vocabulary: Vocabulary) -> MaskingRules:
    """What compiled code needs to mask by `config`."""
    lengths = np.arange(config.max_span_length)
    p = config.geometric_masking_p
    probabilities = p * (1 - p) ** lengths if p else np.ones(len(lengths))
    is_special = np.array([token in SPECIAL_TOKENS for token in vocabulary.tokens])
    return MaskingRules(
        max_seq_length=config.max_seq_length,
        max_questions=config.max_questions_per_seq,
        max_predictions=config.max_predictions_per_seq,
        max_span_length=config.max_span_length,
        boundary=boundary_code(config.span_boundary),
        masked_share=config.masked_lm_prob,
        lm_unit=_BY_GEOMETRIC_SPAN if p else _BY_WORD if config.do_whole_word_mask else _BY_PIECE,
        length_cdf=np.cumsum(probabilities / probabilities.sum()),
        is_special=is_special,
        is_continuation=np.array([token.startswith(CONTINUATION) for token in vocabulary.tokens]),
        regular_ids=np.flatnonzero(~is_special).astype(np.int32),
        pad_id=vocabulary.id(PAD),
        cls_id=vocabulary.id(CLS),
        sep_id=vocabulary.id(SEP),
        mask_id=vocabulary.id(MASK),
        question_id=vocabulary.id(QUESTION),
    )


class MaskedPassage(NamedTuple):
    """A passage while it is masked; arrays are indexed by position."""

    ids: npt.NDArray[np.int32]
    mask: npt.NDArray[np.bool_]  # False: a token that a [QUESTION] before it stands for
    answer_start: npt.NDArray[np.int32]  # of the question at this position, or -1
    answer_end: npt.NDArray[np.int32]  # inclusive
    is_answer: npt.NDArray[np.bool_]  # in a span that was chosen to stay
    lm_label: npt.NDArray[np.int32]  # the token to predict at this position, or -1


@numba.njit(cache=True)
def unmasked_passage(ids: npt.NDArray[np.int32]) -> MaskedPassage:
    """A passage with nothing masked; `ids` are copied."""
    size = len(ids)
    return MaskedPassage(
        ids.copy(),
        np.ones(size, np.bool_),
        np.full(size, -1, np.int32),
        np.full(size, -1, np.int32),
        np.zeros(size, np.bool_),
        np.full(size, -1, np.int32),
    )


@numba.njit(cache=True)
def _share_of(length: int, share: float, limit: int) -> int:
    return min(limit, max(1, round(length * share)))


@numba.njit(cache=True)
def mask_recurring_spans(
    passage: MaskedPassage,
    clusters: FoundClusters,
    rules: MaskingRules,
    generator: Generator,
    is_masked: npt.NDArray[np.bool_],
) -> int:
    """Makes questions (Ram et al., ACL 2021, section 3.1); returns their number.

    Clusters in random order; one random occurrence stays as the answer, the others become [QUESTION], with [PAD] that
    attention does not see in place of their further tokens. `is_masked` tells the clusters that gave a question.
    """
    limit = _share_of(len(passage.ids), rules.masked_share, rules.max_questions)
    order = np.arange(len(clusters.lengths)).astype(np.int32)
    shuffle(generator, order)
    num_questions = 0
    for cluster in order:
        if num_questions >= limit:
            break
        starts = clusters.starts[clusters.ends[cluster - 1] if cluster else 0 : clusters.ends[cluster]]
        length = clusters.lengths[cluster]
        answer = starts[next_below(generator, len(starts))]
        passage.is_answer[answer : answer + length] = True
        for start in starts:
            # occurrences overlap each other only under the boundary rule "first"
            free = not passage.is_answer[start] and not passage.is_answer[start + length - 1]
            if not free or not passage.mask[start] or passage.answer_start[start] >= 0 or num_questions >= limit:
                continue
            passage.ids[start : start + length] = rules.pad_id
            passage.mask[start : start + length] = False
            passage.ids[start] = rules.question_id
            passage.mask[start] = True
            passage.answer_start[start] = answer
            passage.answer_end[start] = answer + length - 1
            is_masked[cluster] = True
            num_questions += 1
    return num_questions


@numba.njit(cache=True)
def mask_for_language_modelling(
    passage: MaskedPassage, rules: MaskingRules, generator: Generator, num_questions: int
) -> int:
    """Chooses tokens to predict, sets their labels, and masks them 80 / 10 / 10; returns their number.

    Questions, what they stand for, and their answers are left alone. Questions count towards the limits; only for
    geometric spans, as in the public reference, the share is one of the tokens that are left.
    """
    size = len(passage.ids)
    candidate = np.empty(size, np.bool_)
    for i in range(size):
        question = passage.answer_start[i] >= 0 or not passage.mask[i]
        candidate[i] = not question and not passage.is_answer[i] and not rules.is_special[passage.ids[i]]
    if rules.lm_unit == _BY_GEOMETRIC_SPAN:
        limit = min(rules.max_predictions - num_questions, int(rules.masked_share * candidate.sum()))
        return _mask_geometric_spans(passage, candidate, rules, generator, limit)
    limit = _share_of(size, rules.masked_share, rules.max_predictions) - num_questions
    return _mask_units(passage, candidate, rules, generator, limit)


@numba.njit(cache=True)
def _continues(passage: MaskedPassage, candidate: npt.NDArray[np.bool_], rules: MaskingRules, position: int) -> bool:
    """Whether a candidate continues the word of the candidate before it."""
    return position > 0 and candidate[position - 1] and rules.is_continuation[passage.ids[position]]


@numba.njit(cache=True)
def _mask_units(
    passage: MaskedPassage,
    candidate: npt.NDArray[np.bool_],
    rules: MaskingRules,
    generator: Generator,
    limit: int,
) -> int:
    """Pieces or words, in random order, as long as they fit; each piece draws its own replacement."""
    size = len(passage.ids)
    starts = np.empty(size, np.int32)
    ends = np.empty(size, np.int32)
    count = 0
    for i in range(size):
        if not candidate[i]:
            continue
        if rules.lm_unit == _BY_WORD and _continues(passage, candidate, rules, i):
            ends[count - 1] = i + 1
            continue
        starts[count] = i
        ends[count] = i + 1
        count += 1
    order = np.arange(count).astype(np.int32)
    shuffle(generator, order)
    masked = 0
    for unit in order:
        if masked + ends[unit] - starts[unit] > limit:
            continue
        for i in range(starts[unit], ends[unit]):
            _replace(passage, rules, generator, i, i + 1)
        masked += ends[unit] - starts[unit]
    return masked


@numba.njit(cache=True)
def _mask_geometric_spans(
    passage: MaskedPassage,
    candidate: npt.NDArray[np.bool_],
    rules: MaskingRules,
    generator: Generator,
    limit: int,
) -> int:
    """Spans of whole words, their lengths in pieces geometric; each span draws one kind of replacement."""
    size = len(passage.ids)
    begins = np.empty(size + 1, np.bool_)  # a word, or what is no candidate, begins here
    for i in range(size):
        begins[i] = not candidate[i] or not _continues(passage, candidate, rules, i)
    begins[size] = True
    places = np.empty(size, np.int32)
    masked = 0
    futile_draws = 0
    while masked < limit and futile_draws < _MAX_FUTILE_DRAWS:
        length = 1 + int(np.searchsorted(rules.length_cdf, next_float(generator), side="right"))
        count = 0
        run = 0  # candidates up to and with the position before `end`
        for end in range(1, size + 1):
            run = run + 1 if candidate[end - 1] else 0
            if run >= length and begins[end] and begins[end - length]:
                places[count] = end - length
                count += 1
        if masked + length > limit or count == 0:
            futile_draws += 1
            continue
        start = places[next_below(generator, count)]
        _replace(passage, rules, generator, start, start + length)
        candidate[start : start + length] = False
        begins[start : start + length] = True
        masked += length
        futile_draws = 0
    return masked


@numba.njit(cache=True)
def _replace(passage: MaskedPassage, rules: MaskingRules, generator: Generator, start: int, end: int) -> None:
    kind = next_float(generator)
    for i in range(start, end):
        passage.lm_label[i] = passage.ids[i]
        if kind < _MASK_SHARE:
            passage.ids[i] = rules.mask_id
        elif kind < _MASK_SHARE + _RANDOM_SHARE:
            passage.ids[i] = rules.regular_ids[next_below(generator, len(rules.regular_ids))]


@numba.njit(cache=True)
def fill_row(passage: MaskedPassage, rules: MaskingRules, row: npt.NDArray[np.int64]) -> None:
    """Writes a passage as the values of a record's features, in the order of `RecordSpec.features`."""
    row[:] = 0
    size = len(passage.ids)
    row[: rules.max_seq_length] = rules.pad_id
    for i in range(size):
        row[i] = passage.ids[i]
        row[rules.max_seq_length + i] = passage.mask[i]
    begin = 2 * rules.max_seq_length
    step = rules.max_questions
    number = 0
    if step:
        for i in range(size):
            if passage.answer_start[i] >= 0:
                row[begin + number] = i
                row[begin + step + number] = passage.answer_start[i]
                row[begin + 2 * step + number] = passage.answer_end[i]
                row[begin + 3 * step + number] = 1
                number += 1
        begin += 4 * step
    step = rules.max_predictions
    number = 0
    for i in range(size):
        if step and passage.lm_label[i] >= 0:
            row[begin + number] = i
            row[begin + step + number] = passage.lm_label[i]
            row[begin + 2 * step + number] = 1
            number += 1
