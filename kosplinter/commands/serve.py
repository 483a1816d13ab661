"""Serves a model by HTTP: POST /answer, GET /health, and a page of its API at /docs."""

import argparse

from kosplinter.commands.models import add_model_flags, load_answerer
from kosplinter.serving.limits import Limits
from kosplinter_common.cli import InputError

NAME = "serve"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_model_flags(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; the default is this machine only")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument("--max_body_bytes", type=int, default=4_000_000, help="of a request")
    parser.add_argument("--max_questions", type=int, default=256, help="of a request")
    parser.add_argument("--max_characters", type=int, default=500_000, help="of all documents of a request together")
    parser.add_argument("--max_waiting", type=int, default=512, help="requests; further ones are told to come again")


def run(flags: argparse.Namespace) -> None:
    for name in ("max_body_bytes", "max_questions", "max_characters", "max_waiting"):
        if getattr(flags, name) < 1:
            raise InputError(f"--{name}: found {getattr(flags, name)}, expected at least 1")
    try:
        from kosplinter.serving.server import listen, serve
    except ImportError as error:
        raise InputError(f"serve: {error}; expected the extra `serve` (pip install '.[serve]')") from error
    limits = Limits(flags.max_body_bytes, flags.max_questions, flags.max_characters, flags.max_waiting)
    with listen(flags.host, flags.port) as listening:  # before the model is loaded, which takes its time
        serve(load_answerer(flags), limits, listening, flags.model or flags.onnx)
