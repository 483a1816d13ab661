"""Writes a model as ONNX, which `--onnx` and QuestionAnswerer.from_onnx run without PyTorch."""

import argparse
import json

from kosplinter.commands.models import add_model_flags, load_answerer

NAME = "export"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_model_flags(parser, onnx=False)
    parser.add_argument("--output_dir", required=True, help="folder to write")
    parser.add_argument("--int8", action="store_true", help="8-bit weights: smaller, faster, not quite the same")


def run(flags: argparse.Namespace) -> None:
    print(json.dumps(load_answerer(flags).export_onnx(flags.output_dir, int8=flags.int8), indent=2))
