"""Finds the temperature and the threshold at which a model is right as often as asked for, and notes them in it.

The questions must be held out from what it learned. Prints what the two are worth on articles they were not fitted on.
"""

import argparse
import json
import sys

from kosplinter.commands.models import add_model_flags, load_answerer

NAME = "calibrate"
CURVES = ("reliability", "risk_coverage")


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_model_flags(parser, onnx=False)
    parser.add_argument("--questions", required=True, help="held-out questions, in any known layout")
    parser.add_argument("--target", type=float, default=0.9, help="share of the answers given that shall be right")
    parser.add_argument("--picture", help="PNG of reliability and of risk over coverage")
    parser.add_argument("--report", help="JSON file of everything that was found, curves too")
    parser.add_argument("--output_dir", help="where the calibrated model is written; default: nowhere, only print")


def run(flags: argparse.Namespace) -> None:
    answerer = load_answerer(flags)
    progress = sys.stderr.isatty()
    report = answerer.calibrate(flags.questions, target=flags.target, picture=flags.picture, progress=progress)
    if flags.report:
        from pathlib import Path

        from finetuning.qa.results import write_json

        write_json(Path(flags.report), report)
    if flags.output_dir:
        answerer.save_pretrained(flags.output_dir)
    print(json.dumps({name: value for name, value in report.items() if name not in CURVES}, indent=2))
    if report["min_probability"] is None:
        print(f"no threshold makes {flags.target:.0%} of the answers right: everything is answered", file=sys.stderr)
