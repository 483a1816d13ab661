"""Flags that name a model and its use, shared by the subcommands."""

import argparse
from typing import Any

from kosplinter.answering.answerer import QuestionAnswerer
from kosplinter_common.cli import InputError

SIZES = ("max_seq_length", "doc_stride", "max_query_length", "max_answer_length")


def add_model_flags(parser: argparse.ArgumentParser, onnx: bool = True) -> None:
    parser.add_argument("--model", help="folder, or name on the Hugging Face Hub")
    if onnx:
        parser.add_argument("--onnx", help="folder that `kosplinter export` wrote, instead of --model")
    parser.add_argument(
        "--dtype", default="float32", help="float32, bfloat16 or auto: bfloat16 if this machine is fast"
    )
    parser.add_argument("--device", help="cpu, cuda, …; default: a GPU where there is one")
    parser.add_argument("--threads", type=int, default=0, help="threads that compute; 0: as many as there are cores")
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int, help="in wordpieces; default: what the model notes")


def load_answerer(flags: argparse.Namespace) -> QuestionAnswerer:
    """Raises InputError for flags that name no model, or two, or one that cannot be used."""
    onnx = getattr(flags, "onnx", None)
    if (flags.model is None) == (onnx is None):
        found = "neither" if onnx is None else "both"
        expected = "--model or --onnx" if hasattr(flags, "onnx") else "--model"
        raise InputError(f"{expected}: found {found}, expected one")
    if flags.threads < 0:
        raise InputError(f"--threads: found {flags.threads}, expected at least 0")
    use: dict[str, Any] = {name: getattr(flags, name) for name in SIZES if getattr(flags, name) is not None}
    for name, value in use.items():
        if value < 1:
            raise InputError(f"--{name}: found {value}, expected at least 1")
    if onnx is not None:
        if use:
            raise InputError(f"--{next(iter(use))}: an exported model keeps its own")
        return QuestionAnswerer.from_onnx(onnx, threads=flags.threads)
    return QuestionAnswerer.from_pretrained(
        flags.model, dtype=flags.dtype, device=flags.device, threads=flags.threads, **use
    )
