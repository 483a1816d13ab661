"""The app on uvicorn, until SIGTERM or Ctrl-C: then what is in flight is finished."""

import socket
import sys

import uvicorn

from kosplinter.answering.answerer import QuestionAnswerer
from kosplinter.serving.app import make_app
from kosplinter.serving.limits import Limits
from kosplinter_common.cli import InputError

KEEP_ALIVE_SECONDS = 5


def listen(host: str, port: int) -> socket.socket:
    """Raises InputError where that is not possible."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise InputError(f"--host {host} --port {port}: cannot listen there: {error}") from error


def serve(answerer: QuestionAnswerer, limits: Limits, listening: socket.socket, name: str) -> None:
    """Says on the error stream where it serves the model `name`."""
    host, port = listening.getsockname()[:2]
    url = f"http://{f'[{host}]' if listening.family == socket.AF_INET6 else host}:{port}"
    app = make_app(answerer, limits, name)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=KEEP_ALIVE_SECONDS)
    print(f"serving {name} at {url} (POST /answer; {url}/docs)", file=sys.stderr, flush=True)
    uvicorn.Server(config).run(sockets=[listening])
