"""Shows what kinds of errors a run made, with examples.

    python finetuning/analyze_errors.py OUT/question_results.jsonl [--metric korquad] [--examples 3] [--json FILE]

Reads the question_results.jsonl that run_qa.py writes.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from common.cli import InputError, exit_with_one_line
from finetuning.error_classes import CLASSES, classify_rows
from finetuning.metrics import METRICS


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
        from finetuning.qa_results import write_json

        content = {name: {"count": len(m), "ids": [row["id"] for row in m]} for name, m in classes.items()}
        write_json(Path(flags.json), content)


if __name__ == "__main__":
    exit_with_one_line(main)
