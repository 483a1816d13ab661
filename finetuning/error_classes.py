"""Classes of errors of extractive answers."""

from collections.abc import Iterable, Sequence
from typing import Any

from finetuning.metrics import metric_named

# Particles and endings that stand behind a noun.
PARTICLES = """
은 는 이 가 을 를 의 에 에서 에게 에게서 께 께서 와 과 도 만 만이 만을 로 으로 로서 으로서 로써 으로써 로는 으로는
로의 으로의 부터 부터의 까지 까지의 보다 처럼 마다 조차 마저 이나 나 이란 란 이라고 라고 이라는 라는 이며 며 이고 고
이다 다 이었다 였다 인 에는 에도 에서는 에서도 에서의 와의 과의 하고 랑 이랑
"""
JOSA = tuple(PARTICLES.split())
CLASSES = {
    "right": "exact match",
    "too_long_by_particle": "the answer with a particle or ending glued to it",
    "too_short_by_particle": "a particle or ending that belongs to the answer is missing",
    "too_long": "contains the answer and more",
    "too_short": "part of the answer",
    "overlapping": "shares characters with the answer at its place, but neither contains the other",
    "other_window": "wrong span, from a window that does not show the answer",
    "wrong_span": "wrong span, though its window shows the answer",
    "should_be_silent": "answered a question that has no answer",
    "silent": "no answer given, though there is one",
}


def classify_rows(rows: Iterable[dict[str, Any]], metric_name: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of question_results.jsonl by class; every class is there."""
    rows = list(rows)
    classes: dict[str, list[dict[str, Any]]] = {name: [] for name in CLASSES}
    has_unanswerable = any(not row["golds"] for row in rows)
    normalize = metric_named(metric_name, has_unanswerable).normalize
    for row in rows:
        golds = [normalize(gold) for gold in row["golds"]]
        classes[_classify(row, normalize(row["prediction"]), golds)].append(row)
    return classes


def _classify(row: dict[str, Any], prediction: str, golds: Sequence[str]) -> str:
    if not golds:
        return "should_be_silent" if prediction else "right"
    if prediction in golds:
        return "right"
    if not prediction:
        return "silent"
    if any(prediction == gold + josa for gold in golds for josa in JOSA):
        return "too_long_by_particle"
    if any(gold == prediction + josa for gold in golds for josa in JOSA):
        return "too_short_by_particle"
    return _classify_by_place(row)


def _classify_by_place(row: dict[str, Any]) -> str:
    span = row["span"]
    if span is not None:
        for first, last in row["gold_spans"]:
            if span[0] <= first and last <= span[1]:
                return "too_long"
            if first <= span[0] and span[1] <= last:
                return "too_short"
            if span[0] < last and first < span[1]:
                return "overlapping"
        for window in row["windows"]:
            if _inside(span, window) and any(_inside(gold, window) for gold in row["gold_spans"]):
                return "wrong_span"
        if row["gold_spans"]:
            return "other_window"
    return "wrong_span"


def _inside(span: Sequence[int], window: Sequence[int]) -> bool:
    return window[0] <= span[0] and span[1] <= window[1]
