"""From start and end scores to the best answers of a document, and how probable each is.

A span lies inside the context part of one window and has at most `max_answer_length` wordpieces; its score in a window
is its start logit plus its end logit. Overlapping windows show the same span several times, and some tokenizers cut the
same characters in several ways: a span of the document counts once, with its best score. In float64, so that
probabilities add up; documents are read in blocks, so that memory hardly grows with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from finetuning.qa.features import QAFeatures

BLOCK_STARTS = 4096  # starts whose spans are scored at once: 1 MiB at 30 wordpieces an answer


@dataclass(frozen=True)
class DecodingSettings:
    """max_answer_length in wordpieces; with_null: "no answer" takes its share of the probability.

    temperature: scores are divided by it before they become probabilities (Guo et al. 2017); 1 leaves them alone.
    """

    max_answer_length: int
    n_best: int
    with_null: bool
    temperature: float = 1.0


class WindowLogits(NamedTuple):
    """What a model says of windows: the logits of all their context wordpieces one after another, [pieces] each; the
    first of each window among them [windows + 1]; and each window's score of "no answer" [windows].
    """

    starts: np.ndarray
    ends: np.ndarray
    firsts: np.ndarray
    null_scores: np.ndarray


@dataclass(frozen=True)
class Answer:
    """A span of the context, characters [start, end). An answer of "none" is the empty span 0, 0."""

    text: str
    start: int
    end: int
    score: float
    probability: float


@dataclass(frozen=True)
class Decoded:
    """Of one question: answers with text, best first, and how much better "no answer" scores than the first of them.

    log_total: the log of the summed exponentials of all spans' scores by the temperature, without "no answer".
    """

    answers: tuple[Answer, ...]
    null_difference: float
    null_score: float = 0.0
    log_total: float = -np.inf


class Spans(NamedTuple):
    """Spans, best first, ties by the earlier start, then the earlier end: scores and inclusive wordpieces [n]."""

    scores: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray


def decode_document(
    features: QAFeatures, first_window: int, last_window: int, logits: WindowLogits, settings: DecodingSettings
) -> Decoded:
    """The n best answers of the question whose windows are [first_window, last_window) of `features`.

    `logits` holds these windows, in their order. "No answer" has the lowest of its scores in the windows.
    """
    windows = features.windows[first_window:last_window]
    example = int(windows[0, 0])
    context = features.contexts[features.context_of_example[example]]
    bounds = _visible_bounds(features.examples[example].context, context.starts, context.ends)
    null_score = float(logits.null_scores.min())
    totals, best = [], []
    for first, table in _span_tables(windows[:, 1:3], logits, bounds, settings.max_answer_length):
        largest = table.max()
        if largest > -np.inf:
            scaled = (table - largest) / settings.temperature
            totals.append(float(largest / settings.temperature + np.log(np.exp(scaled).sum())))
            best.append(_best_spans(table, first, settings.n_best))
    log_total = float(np.logaddexp.reduce(totals)) if totals else -np.inf
    log_sum = _log_sum([log_total], null_score, settings)
    spans = _merge(best, settings.n_best)
    answers = []
    for score, first, last in zip(*(part.tolist() for part in spans), strict=True):
        start, end = features.answer_span(example, first, last)
        text = features.examples[example].context[start:end]
        answers.append(Answer(text, start, end, score, float(np.exp(score / settings.temperature - log_sum))))
    difference = null_score - (answers[0].score if answers else -np.inf)
    return Decoded(tuple(answers), difference, null_score, log_total)


def _log_sum(log_totals: list[float], null_score: float, settings: DecodingSettings) -> float:
    """What logs of probabilities are counted from: of all spans and, `with_null`, of "no answer"."""
    null = [null_score / settings.temperature] if settings.with_null else []
    return float(np.logaddexp.reduce([*log_totals, *null]))


def rank_documents(found: Sequence[Decoded], settings: DecodingSettings) -> tuple[list[tuple[int, Answer]], float]:
    """The n best answers of one question over several documents, each with its document's index, and how much better
    "no answer" scores than the first: as if the documents were one. Probabilities are over the spans of all of them.
    """
    null_score = min((one.null_score for one in found), default=-np.inf)
    log_sum = _log_sum([one.log_total for one in found], null_score, settings) if found else -np.inf
    ranked = sorted(
        ((index, answer) for index, one in enumerate(found) for answer in one.answers),
        key=lambda pair: (-pair[1].score, pair[0], pair[1].start, pair[1].end),
    )[: settings.n_best]
    answers = [
        (index, replace(answer, probability=float(np.exp(answer.score / settings.temperature - log_sum))))
        for index, answer in ranked
    ]
    return answers, null_score - (answers[0][1].score if answers else -np.inf)


def _visible_bounds(text: str, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wordpieces' first character and end without white space around them: equal bounds are the same answer."""
    visible = np.array([not character.isspace() for character in text], bool)
    places = np.arange(len(text))
    following = np.minimum.accumulate(np.r_[np.where(visible, places, len(text)), len(text)][::-1])[::-1]
    preceding = np.maximum.accumulate(np.r_[0, np.where(visible, places + 1, 0)])
    return following[starts], preceding[ends]


def _span_tables(
    windows: np.ndarray, logits: WindowLogits, bounds: tuple[np.ndarray, np.ndarray], longest: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of starts: the first of them, and the scores [starts, longest] of the spans of 1, 2, … wordpieces from
    each; −inf for what is no span, or one that is counted elsewhere in its block.

    windows: first and behind-last wordpiece of each window [n, 2], in order.
    """
    visible_starts, visible_ends = bounds
    pieces = len(visible_starts)
    longest = min(longest, pieces)
    ambiguous = (np.diff(visible_starts) <= 0).any() or (np.diff(visible_ends) <= 0).any()
    ambiguous = ambiguous or (visible_starts >= visible_ends).any()
    first = 0
    while first < pieces:
        last = min(first + BLOCK_STARTS, pieces)
        while last < pieces and visible_starts[last] <= visible_starts[last - 1]:  # equal spans share a block
            last += 1
        table = np.full((last - first, longest), -np.inf)
        of_block = range(np.searchsorted(windows[:, 1], first, "right"), np.searchsorted(windows[:, 0], last))
        for window in of_block:
            begin, end = windows[window].tolist()
            shift = int(logits.firsts[window]) - begin
            low, high = max(begin, first), min(end, last)
            starts = logits.starts[low + shift : high + shift].astype(np.float64)
            ends = np.full(high - low + longest - 1, -np.inf)
            reached = logits.ends[low + shift : min(high + longest - 1, end) + shift]
            ends[: len(reached)] = reached
            rows = table[low - first : high - first]
            np.maximum(rows, starts[:, None] + sliding_window_view(ends, longest), out=rows)
        if ambiguous:
            _keep_one_of_equals(table, visible_starts[first:last], visible_ends[first : last + longest - 1])
        yield first, table
        first = last


def _keep_one_of_equals(table: np.ndarray, visible_starts: np.ndarray, visible_ends: np.ndarray) -> None:
    """Sets to −inf what has no visible character, and all but the best of the spans that are the same characters."""
    rows, lengths = np.nonzero(table > -np.inf)
    starts, ends = visible_starts[rows], visible_ends[rows + lengths]
    order = np.lexsort((-table[rows, lengths], ends, starts))
    starts, ends = starts[order], ends[order]
    repeated = np.r_[False, (starts[1:] == starts[:-1]) & (ends[1:] == ends[:-1])]
    dropped = order[repeated | (starts >= ends)]
    table[rows[dropped], lengths[dropped]] = -np.inf


def _best_spans(table: np.ndarray, first: int, n_best: int) -> Spans:
    """They have at most n different starts, among those whose own best span scores at least as high as the n-th's."""
    best_of_start = table.max(1)
    rows = np.flatnonzero(best_of_start >= _nth_highest(best_of_start, n_best))
    scores = table[rows]
    chosen, lengths = np.nonzero(scores >= max(_nth_highest(scores.ravel(), n_best), np.finfo(np.float64).min))
    firsts = rows[chosen] + first
    return _merge([Spans(scores[chosen, lengths], firsts, firsts + lengths)], n_best)


def _nth_highest(values: np.ndarray, n: int) -> float:
    return float(np.partition(values, -n)[-n]) if n < len(values) else -np.inf


def _merge(parts: list[Spans], n_best: int) -> Spans:
    if not parts:
        return Spans(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    scores, firsts, lasts = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((lasts, firsts, -scores))[:n_best]
    return Spans(scores[order], firsts[order], lasts[order])
