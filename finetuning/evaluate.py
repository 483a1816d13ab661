"""Scores a predictions file against a data file; stands alone and never loads torch.

    python finetuning/evaluate.py PREDICTIONS DATA [--output_format korquad,squad,squad2,mrqa] [--nbest FILE]

PREDICTIONS is a JSON object {question id: answer}; the two may come in either order. DATA may be in any layout that
run_qa.py reads. Prints JSON at full precision; a question without a prediction scores 0 and is counted under
"unanswered".
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line

# isort: split

from finetuning.qa.examples import without_lone_surrogates
from finetuning.qa.metrics import METRICS, evaluate_oracle, evaluate_predictions, parse_metric_names
from finetuning.qa.questions import load_questions
from kosplinter_common.files import read_json_object


def holds_predictions(path: str) -> bool:
    """Whether a file is a JSON object of texts; official scripts take the data first and predictions second."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and all(isinstance(answer, str) for answer in content.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", help="JSON object {question id: answer}")
    parser.add_argument("data", help="data files (comma-separated globs)")
    parser.add_argument("--output_format", default="korquad,squad", help=f"some of {','.join(METRICS)}")
    parser.add_argument("--nbest", help="nbest_predictions.json, for the scores of a perfect choice from it")
    flags = parser.parse_args()
    names = parse_metric_names(flags.output_format)
    if not holds_predictions(flags.predictions) and holds_predictions(flags.data):
        print(f"{flags.data} holds the predictions: the two files are taken the other way round", file=sys.stderr)
        flags.predictions, flags.data = flags.data, flags.predictions
    predictions = read_json_object(Path(flags.predictions), "predictions")
    for question, answer in predictions.items():
        if not isinstance(answer, str):
            raise InputError(f"{flags.predictions}: {question}: found {type(answer).__name__}, expected a text")
    predictions = {without_lone_surrogates(key): without_lone_surrogates(text) for key, text in predictions.items()}
    data = load_questions(flags.data)
    examples = [example for example in data.examples if example.labelled]
    if not examples:
        raise InputError(f"{flags.data}: found no question whose answer is told")
    results: dict[str, Any] = evaluate_predictions(predictions, examples, names)
    if flags.nbest:
        nbest = read_json_object(Path(flags.nbest), "n-best predictions")
        wrong = [question for question, answers in nbest.items() if not isinstance(answers, list)]
        if wrong:
            raise InputError(f"{flags.nbest}: {wrong[0]}: expected a list of answers, as in nbest_predictions.json")
        results |= evaluate_oracle(nbest, examples, names[0])
    results |= {name: counts for name, counts in (("left_out", data.left_out()), ("mended", data.mended())) if counts}
    json.dump(results, sys.stdout, indent=2, ensure_ascii=False)
    print()


if __name__ == "__main__":
    exit_with_one_line(main)
