"""The HTTP API: POST /answer, GET /health, GET /openapi.json, GET /docs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from kosplinter.answering.answerer import QuestionAnswerer
from kosplinter.serving.batcher import Batcher
from kosplinter.serving.bodies import asked_of
from kosplinter.serving.description import openapi, page
from kosplinter.serving.limits import Limits, Refusal

BODY_SECONDS = 30.0  # in which a client must have sent its body
CLIENT_GONE = 499  # never read by anyone


def make_app(answerer: QuestionAnswerer, limits: Limits, name: str = "") -> Starlette:
    """`name` is the model's, for GET /health."""
    batcher: Batcher | None = None

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        nonlocal batcher
        batcher = Batcher(answerer)
        batcher.start()
        yield
        await batcher.stop()

    async def answer(request: Request) -> Response:
        assert batcher is not None
        asked = asked_of(await _body_of(request, limits), limits)
        if batcher.waiting >= limits.max_waiting or batcher.characters > limits.max_waiting_characters:
            raise Refusal(503, f"busy: {batcher.waiting} requests are waiting, come again in a second")
        found = [{"answers": [asdict(one) for one in ranking]} for ranking in await batcher.answer(asked)]
        return JSONResponse({"results": found} if asked.many else found[0])

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "model": name, "waiting": batcher.waiting if batcher else 0})

    description = openapi(limits)

    async def describe(request: Request) -> Response:
        return JSONResponse(description)

    async def docs(request: Request) -> Response:
        return HTMLResponse(page(description))

    routes = [
        Route("/answer", answer, methods=["POST"]),
        Route("/health", health),
        Route("/openapi.json", describe),
        Route("/docs", docs),
    ]
    handlers: Any = {Refusal: _refuse, HTTPException: _http_error, ClientDisconnect: _gone, Exception: _internal_error}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


async def _body_of(request: Request, limits: Limits) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # a browser asks before it sends that to another site
        raise Refusal(415, f"Content-Type: found {kind or 'nothing'}, expected application/json")
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limits.max_body_bytes:
        raise Refusal(413, f"body: found {told} bytes, expected at most {limits.max_body_bytes}")
    try:
        return await asyncio.wait_for(_read(request, limits.max_body_bytes), BODY_SECONDS)
    except TimeoutError as error:
        raise Refusal(408, f"body: not there after {BODY_SECONDS:g} s") from error


async def _read(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise Refusal(413, f"body: found more than {limit} bytes, expected at most that many")
    return bytes(body)


def _refuse(request: Request, error: Refusal) -> Response:
    headers = {"Connection": "close"} if error.status in (408, 413) else {}  # the rest of the body is not read
    headers |= {"Retry-After": "1"} if error.status == 503 else {}
    return JSONResponse({"error": error.line}, error.status, headers)


def _http_error(request: Request, error: HTTPException) -> Response:
    line = f"{request.method} {request.url.path}: {error.detail}; see /docs"
    return JSONResponse({"error": line}, error.status_code, error.headers)


def _gone(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=CLIENT_GONE)


def _internal_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "internal error; the server's log says more"}, 500)
