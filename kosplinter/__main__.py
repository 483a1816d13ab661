"""Answers questions from documents with an extractive model, teaches it, says how sure it is, and serves it.

kosplinter answer --model DIR --document article.txt --question "누가 훈민정음을 만들었는가?"
kosplinter answer --model DIR --input questions.jsonl --output answers.jsonl
kosplinter fit --model DIR --questions train.json --validation dev.json --output_dir mine
kosplinter evaluate --model mine --questions dev.json
kosplinter calibrate --model mine --questions dev.json --picture calibration.png
kosplinter export --model mine --output_dir mine-onnx
kosplinter serve --model mine
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import exit_with_one_line

# isort: split

from kosplinter.commands import answer, calibrate, evaluate, export, fit, serve

COMMANDS = {command.NAME: command for command in (answer, fit, evaluate, calibrate, export, serve)}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kosplinter", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help="--help tells its flags")
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").strip().splitlines()[0]
        own = subparsers.add_parser(
            name, help=summary, description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_flags(own)
    return parser


def main(argv: list[str] | None = None) -> None:
    parser = make_parser()
    flags, rest = parser.parse_known_args(argv)
    if rest and flags.command != fit.NAME:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    flags.rest = rest
    COMMANDS[flags.command].run(flags)


def console() -> None:
    """The console command."""
    exit_with_one_line(main)


if __name__ == "__main__":
    console()
