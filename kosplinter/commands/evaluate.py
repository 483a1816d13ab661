"""Scores a model on questions whose answers are told, as run_qa.py --do_eval does."""

import argparse
import json
import sys

from kosplinter.commands.models import add_model_flags, load_answerer

NAME = "evaluate"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_model_flags(parser)
    parser.add_argument("--questions", required=True, help="comma-separated globs, any known layout")
    parser.add_argument("--metrics", default="korquad,squad", help="korquad, squad, squad2, klue, mrqa")


def run(flags: argparse.Namespace) -> None:
    answerer = load_answerer(flags)
    scores = answerer.evaluate(flags.questions, metrics=flags.metrics, progress=sys.stderr.isatty())
    print(json.dumps(scores, ensure_ascii=False, indent=2))
