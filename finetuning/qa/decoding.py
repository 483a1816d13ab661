"""From start and end scores to the best answers: the best spans of each window, then of each document.

A span lies inside the context part of one window and has at most `max_answer_length` wordpieces; its score is its
start logit plus its end logit. Windows are decoded batch by batch, so memory does not grow with the data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from finetuning.qa.features import QAFeatures


class WindowSpans(NamedTuple):
    """The best spans of each of B windows: scores, starts, ends [B, n] (score −inf where there are fewer than n),
    the log of the summed exponentials of all its spans' scores [B], and the score of "no answer" [B].
    """

    scores: Tensor
    starts: Tensor
    ends: Tensor
    log_total: Tensor
    null_scores: Tensor


def best_spans(
    start_logits: Tensor,
    end_logits: Tensor,
    context_mask: Tensor,
    max_answer_length: int,
    n_best: int,
    cls_index: int = 0,
) -> WindowSpans:
    """Logits and context_mask (bool) are [B, length].

    The n best spans have at most n different starts, and those are among the n starts whose own best span scores
    highest: so only n × max_answer_length spans of a window are sorted.
    """
    # In float64, so that a document's probabilities add up; Apple's MPS has none.
    precision = torch.float32 if start_logits.device.type == "mps" else torch.float64
    start_logits, end_logits = start_logits.to(precision), end_logits.to(precision)
    null_scores = start_logits[:, cls_index] + end_logits[:, cls_index]
    starts = start_logits.masked_fill(~context_mask, -torch.inf)
    ends = end_logits.masked_fill(~context_mask, -torch.inf)
    longest = min(max_answer_length, starts.size(1))
    padded_ends = functional.pad(ends, (0, longest - 1), value=-torch.inf)
    # [B, length, longest], a view: the end scores a start may be paired with. It is never written out as a whole, for
    # the holes that such blocks leave between what is kept of each batch grew a process of 100,000 windows to 7 GB.
    reachable = padded_ends.unfold(1, longest, 1)

    best_of_start = starts + functional.max_pool1d(padded_ends, longest, stride=1)
    candidates = best_of_start.topk(min(n_best, starts.size(1))).indices
    pairs = starts.gather(1, candidates).unsqueeze(-1) + reachable.gather(
        1, candidates.unsqueeze(-1).expand(-1, -1, longest)
    )
    scores, flat = pairs.flatten(1).topk(min(n_best, pairs.size(1) * pairs.size(2)))
    chosen_starts = candidates.gather(1, flat // longest)
    padding = (0, n_best - scores.size(1))
    return WindowSpans(
        functional.pad(scores, padding, value=-torch.inf),
        functional.pad(chosen_starts, padding),
        functional.pad(chosen_starts + flat % longest, padding),
        _log_total(starts, padded_ends, longest),
        null_scores,
    )


def _log_total(starts: Tensor, padded_ends: Tensor, longest: int) -> Tensor:
    """The log of the summed exponentials of the scores of all spans of at most `longest` pieces, [B].

    Ends are summed window by window, unlike by differences of a running sum, which would lose small ones.
    """
    largest = padded_ends.amax(1, keepdim=True).clamp(min=torch.finfo(starts.dtype).min)  # finite if nothing is allowed
    sums = longest * functional.avg_pool1d((padded_ends - largest).exp(), longest, stride=1)
    return (starts + sums.log()).logsumexp(1) + largest[:, 0]


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
    """Of one question: answers with text, best first, and how much better "no answer" scores than the first of them."""

    answers: tuple[Answer, ...]
    null_difference: float


def decode_documents(features: QAFeatures, spans: WindowSpans, n_best: int, with_null: bool) -> dict[str, Decoded]:
    """The n best answers of each question over all its windows.

    `spans` holds one row per window of `features`, in their order. Probabilities are over all spans of all windows of
    the document and, `with_null`, over "no answer" too (the lowest null score of the windows). A question without
    any window has no entry.
    """
    scores, starts, ends, log_total, null_scores = (part.cpu().numpy() for part in spans)
    owners = features.windows[:, 0]
    firsts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]]) if len(owners) else np.empty(0, np.int64)
    shifts = features.context_offsets[:, None]
    starts, ends = starts + shifts, ends + shifts
    decoded = {}
    for first, last in zip(firsts, np.r_[firsts[1:], len(owners)], strict=True):
        rows = slice(int(first), int(last))
        null_score = float(null_scores[rows].min())
        totals = log_total[rows].astype(np.float64)
        log_sum = np.logaddexp.reduce(np.append(totals, null_score) if with_null else totals)
        pieces = _document_pieces(scores[rows], starts[rows], ends[rows])
        answers = _answers(features, int(owners[first]), pieces, n_best, float(log_sum))
        best = answers[0].score if answers else -np.inf
        decoded[features.examples[int(owners[first])].id] = Decoded(answers, float(null_score - best))
    return decoded


def _document_pieces(scores: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> list[tuple[float, int, int]]:
    """(score, first, last wordpiece of the context), best first; ties go to the earlier span."""
    real = np.isfinite(scores)
    scores, starts, ends = scores[real], starts[real], ends[real]
    order = np.lexsort((ends, starts, -scores))
    return list(zip(scores[order].tolist(), starts[order].tolist(), ends[order].tolist(), strict=True))


def _answers(
    features: QAFeatures, example: int, pieces: Sequence[tuple[float, int, int]], n_best: int, log_sum: float
) -> tuple[Answer, ...]:
    context = features.examples[example].context
    answers: dict[tuple[int, int], Answer] = {}
    for score, first, last in pieces:
        start, end = features.answer_span(example, first, last)
        if start < end and (start, end) not in answers:
            probability = float(np.exp(score - log_sum))
            answers[start, end] = Answer(context[start:end], start, end, score, probability)
            if len(answers) == n_best:
                break
    return tuple(answers.values())
