"""Scores of extractive answers by the rules of KorQuAD 1.0, KLUE-MRC, SQuAD 1.1, SQuAD 2.0 and MRQA. Plain Python.

Each follows the published rules of its task's evaluation (KorQuAD: Lim et al. 2019; KLUE: Park et al. 2021; SQuAD:
Rajpurkar et al. 2016, 2018; MRQA: Fisch et al. 2019) down to the order of floating-point sums, so that scores agree to
the last digit.
"""

import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from finetuning.qa.questions import QAExample, has_unanswerable
from kosplinter_common.cli import InputError

KORQUAD_BLANKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")
# KLUE's own pattern closes its brackets early: it means any of these marks, and finds one before these four only.
KLUE_BLANKS = re.compile(r"['\"《》<>〈〉]\(\)‘’")


def normalize_korquad(text: str) -> str:
    """Quotes and brackets become blanks, then lower case, no ASCII punctuation, single blanks."""
    return " ".join(text.translate(KORQUAD_BLANKS).lower().translate(WITHOUT_PUNCTUATION).split())


def normalize_squad(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single blanks."""
    return " ".join(ENGLISH_ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split())


def normalize_klue(text: str) -> str:
    """Lower case, no ASCII punctuation, single blanks."""
    return " ".join(KLUE_BLANKS.sub(" ", text.lower()).translate(WITHOUT_PUNCTUATION).split())


def korquad_units(text: str) -> list[str]:
    """KorQuAD's F1 counts characters, white space dropped."""
    return list("".join(normalize_korquad(text).split()))


def squad_units(text: str) -> list[str]:
    return normalize_squad(text).split()


def overlap_f1(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of two bags of units; 0 where they share none."""
    shared = sum((Counter(prediction) & Counter(gold)).values())
    if shared == 0:
        return 0
    precision, recall = 1.0 * shared / len(prediction), 1.0 * shared / len(gold)
    return (2 * precision * recall) / (precision + recall)


def squad2_f1(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """As `overlap_f1`, but an empty answer agrees with an empty gold answer."""
    if not prediction or not gold:
        return int(list(prediction) == list(gold))
    return overlap_f1(prediction, gold)


def rouge_w(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """KLUE's ROUGE-W: F1 of the longest run of units that both have (Park et al. 2021, section 3.7)."""
    if not gold:
        return float(not prediction)
    # difflib's rule that passes over frequent units of a long text is part of the published scores
    longest = SequenceMatcher(None, prediction, gold).find_longest_match(0, len(prediction), 0, len(gold)).size
    if longest == 0:
        return 0.0
    precision, recall = longest / len(prediction), longest / len(gold)
    return 2 * (precision * recall) / (precision + recall)


@dataclass(frozen=True)
class Metric:
    """How one task compares a prediction with one gold answer."""

    normalize: Callable[[str], str]
    units: Callable[[str], list[str]]
    f1: Callable[[Sequence[str], Sequence[str]], float]
    empty_gold_counts: bool  # whether an unanswerable question has the empty string as its gold answer
    f1_name: str = "f1"  # what the task calls that score

    def golds(self, example: QAExample) -> list[str]:
        golds = [gold for gold in example.golds if not self.empty_gold_counts or self.normalize(gold)]
        return golds or ([""] if self.empty_gold_counts else [])

    def score(self, prediction: str, example: QAExample) -> tuple[float, float]:
        """(exact match, F1) of one prediction, each the best over the gold answers; 0 where there are none."""
        golds = self.golds(example)
        exact = max((int(self.normalize(prediction) == self.normalize(gold)) for gold in golds), default=0)
        units = self.units(prediction)
        return exact, max((self.f1(units, self.units(gold)) for gold in golds), default=0)


METRICS = {
    "korquad": Metric(normalize_korquad, korquad_units, overlap_f1, empty_gold_counts=False),
    "squad": Metric(normalize_squad, squad_units, overlap_f1, empty_gold_counts=False),
    "squad2": Metric(normalize_squad, squad_units, squad2_f1, empty_gold_counts=True),
    "klue": Metric(normalize_klue, lambda text: list(normalize_klue(text)), rouge_w, True, f1_name="rouge_w"),
    "mrqa": Metric(normalize_squad, squad_units, overlap_f1, empty_gold_counts=False),
}
# KorQuAD's rules where some questions have no answer: an empty prediction is then the right one.
KORQUAD_WITH_UNANSWERABLE = Metric(normalize_korquad, korquad_units, squad2_f1, empty_gold_counts=True)


def parse_metric_names(names: str) -> tuple[str, ...]:
    """Raises InputError for a name that is not one of METRICS."""
    chosen = tuple(name.strip() for name in names.split(",") if name.strip())
    unknown = [name for name in chosen if name not in METRICS]
    if unknown or not chosen:
        raise InputError(f"--output_format: found {unknown or names!r}, expected some of {','.join(METRICS)}")
    return chosen


def metric_named(name: str, some_unanswerable: bool) -> Metric:
    return KORQUAD_WITH_UNANSWERABLE if name == "korquad" and some_unanswerable else METRICS[name]


def evaluate_predictions(
    predictions: Mapping[str, str], examples: Sequence[QAExample], names: Iterable[str]
) -> dict[str, float | int]:
    """{metric}_exact_match and {metric}_f1 in percent of all questions, `total`, `unanswered` (no prediction: score 0).

    klue_f1 is also given by its own name, klue_rouge_w.
    Where questions without an answer exist, squad2 also gives both scores on answerable and unanswerable ones apart.
    """
    answered = [example for example in examples if example.id in predictions]
    some_unanswerable = has_unanswerable(examples)
    results: dict[str, float | int] = {"total": len(examples), "unanswered": len(examples) - len(answered)}
    for name in names:
        metric = metric_named(name, some_unanswerable)
        scores = [(example, metric.score(predictions[example.id], example)) for example in answered]
        results |= _percent(name, [score for _, score in scores], len(examples))
        results[f"{name}_{metric.f1_name}"] = results[f"{name}_f1"]
        if name == "squad2" and some_unanswerable:
            for part, answerable in (("has_answer", True), ("no_answer", False)):
                chosen = [score for example, score in scores if example.answerable is answerable]
                total = sum(example.answerable is answerable for example in examples)
                results |= _percent(f"{name}_{part}", chosen, total)
    return results


def _percent(name: str, scores: Sequence[tuple[float, float]], total: int) -> dict[str, float]:
    exact = sum(score[0] for score in scores)
    f1 = sum(score[1] for score in scores)
    return {f"{name}_exact_match": 100.0 * exact / max(total, 1), f"{name}_f1": 100.0 * f1 / max(total, 1)}


def evaluate_oracle(
    nbest: Mapping[str, Sequence[Mapping[str, object]]], examples: Sequence[QAExample], name: str
) -> dict[str, float | int]:
    """The best scores that choosing from each question's n-best list could reach, in percent."""
    metric = metric_named(name, has_unanswerable(examples))
    best = []
    for example in examples:
        scores = [metric.score(str(candidate["text"]), example) for candidate in nbest.get(example.id, ())]
        best.append((max((s[0] for s in scores), default=0), max((s[1] for s in scores), default=0)))
    return _percent(f"{name}_oracle", best, len(examples))


def best_null_threshold(
    null_differences: Mapping[str, float], predictions: Mapping[str, str], examples: Sequence[QAExample], name: str
) -> dict[str, float | str]:
    """The threshold on (null score − best span score) with the best F1 of the metric `name`, and that F1 in percent.

    predictions: the best non-empty answer of each question. A question whose difference is above the threshold, or that
    has none, gets the empty answer.
    """
    metric = metric_named(name, some_unanswerable=True)
    current = sum(metric.score("", example)[1] for example in examples)  # all silent
    gains: dict[float, float] = defaultdict(float)
    for example in examples:
        if example.id in null_differences:
            gain = metric.score(predictions[example.id], example)[1] - metric.score("", example)[1]
            gains[null_differences[example.id]] += gain
    best_score, best_threshold = current, min(gains, default=0.0) - 1.0
    for difference in sorted(gains):  # questions of equal difference speak together
        current += gains[difference]
        if current > best_score:
            best_score, best_threshold = current, difference
    return {
        "best_null_threshold": best_threshold,
        "best_f1_at_threshold": 100.0 * best_score / max(len(examples), 1),
        "best_null_threshold_metric": f"{name}_f1",
    }
