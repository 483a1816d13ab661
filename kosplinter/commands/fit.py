"""Teaches a model a few dozen questions, as run_qa.py does, and keeps the best epoch and seed.

Every flag of finetuning/run_qa.py is taken too: --learning_rate 1e-4 --num_train_epochs=20 …
"""

import argparse
import json
from typing import Any

from kosplinter.commands.models import add_model_flags, load_answerer
from kosplinter_common.cli import InputError

NAME = "fit"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_model_flags(parser, onnx=False)
    parser.add_argument("--questions", required=True, help="to learn from: comma-separated globs, any known layout")
    parser.add_argument("--validation", help="to choose the best epoch and seed by F1")
    parser.add_argument("--output_dir", required=True, help="where the model is written")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="one run each")


def run(flags: argparse.Namespace) -> None:
    answerer = load_answerer(flags)
    results = answerer.fit(flags.questions, flags.validation, seeds=flags.seeds, **as_keywords(flags.rest))
    answerer.save_pretrained(flags.output_dir)
    print(json.dumps(results, ensure_ascii=False, indent=2))


def as_keywords(words: list[str]) -> dict[str, Any]:
    """`--name=value --other value --switch` as {name: value, other: value, switch: "True"}."""
    keywords: dict[str, Any] = {}
    name = None
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            keywords[name] = value if equals else "True"
            name = None if equals else name
        elif name is None:
            raise InputError(f"found {word!r}, expected a flag")
        else:
            keywords[name], name = word, None
    return keywords
