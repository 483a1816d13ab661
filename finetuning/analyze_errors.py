"""Shows what kinds of errors a run made, with examples.

    python finetuning/analyze_errors.py OUT/question_results.jsonl [--metric korquad] [--examples 3] [--json FILE]

Reads the question_results.jsonl that run_qa.py writes.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line

# isort: split

from finetuning.qa.metrics import METRICS, metric_named

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


def read_rows(path: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n"), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: broken JSON at line {number}: {error.msg}") from error
    if not rows or not isinstance(rows[0], dict) or not {"golds", "prediction", "windows"} <= rows[0].keys():
        raise InputError(f"{path}: expected rows of question_results.jsonl, as run_qa.py writes them")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="question_results.jsonl of a run")
    parser.add_argument("--metric", default="korquad", choices=list(METRICS), help="whose normalisation counts")
    parser.add_argument("--examples", type=int, default=3, help="examples to print per class")
    parser.add_argument("--json", help="also write counts and question ids per class to this file")
    flags = parser.parse_args()
    rows = read_rows(flags.results)
    classes = classify_rows(rows, flags.metric)
    for name, description in CLASSES.items():
        members = classes[name]
        print(f"{name}: {len(members)} of {len(rows)} ({100 * len(members) / len(rows):.1f}%) – {description}")
        for row in members[: flags.examples] if name != "right" else []:
            print(f"    {row['id']}  {row['question']}")
            print(f"        found {row['prediction']!r}, expected {' / '.join(map(repr, row['golds'])) or 'no answer'}")
    if flags.json:
        from finetuning.qa.results import write_json

        content = {name: {"count": len(m), "ids": [row["id"] for row in m]} for name, m in classes.items()}
        write_json(Path(flags.json), content)


if __name__ == "__main__":
    exit_with_one_line(main)
