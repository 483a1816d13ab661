"""The HTTP server: answers equal to the library's, refusals, batches, broken clients, SIGTERM."""

import argparse
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kosplinter import InputError, QuestionAnswerer
from kosplinter.__main__ import main
from kosplinter.commands.serve import add_flags
from kosplinter.serving.limits import Limits
from tests.finetuning.tiny_qa import CITIES, PEOPLE

uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from kosplinter.serving import app as serving_app
from kosplinter.serving.app import make_app
from kosplinter.serving.server import listen

ROOT = Path(__file__).resolve().parents[3]
TEXTS = [f"{person}은 {city}에서 태어났다." for person, city in zip(PEOPLE, CITIES, strict=True)]
JSON = {"Content-Type": "application/json"}
LIMITS = Limits(max_body_bytes=20_000, max_questions=5, max_characters=3_000, max_waiting=40)


class Recording:
    """A QuestionAnswerer that notes how many questions came together, and can be held up."""

    def __init__(self, answerer: QuestionAnswerer) -> None:
        self._answerer, self.sizes = answerer, list[int]()
        self.go_on = threading.Event()
        self.go_on.set()
        self.min_probability = 0.0

    def answer_many(self, pairs: list[Any], **rest: Any) -> Any:
        self.sizes.append(len(pairs))
        assert self.go_on.wait(60)
        if any(question == "터져라" for question, _ in pairs):
            raise RuntimeError("burst")
        return self._answerer.answer_many(pairs, **rest)


class Server:
    def __init__(self, answerer: Any, limits: Limits) -> None:
        self.answerer = answerer
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listening.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(make_app(answerer, limits, "tiny"), log_level="critical"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]})
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._listening.close()

    def call(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET" if body is None else "POST", path, body, JSON if headers is None else headers)
        response = connection.getresponse()
        found = response.status, response.read()
        connection.close()
        return found

    def ask(self, content: Any) -> tuple[int, Any]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        status, text = self.call("/answer", body)
        return status, json.loads(text)


@pytest.fixture(scope="module")
def library(taught: Path) -> QuestionAnswerer:
    return QuestionAnswerer.from_pretrained(taught)


@pytest.fixture
def server(library: QuestionAnswerer) -> Iterator[Server]:
    running = Server(Recording(library), LIMITS)
    yield running
    running.answerer.go_on.set()
    running.stop()


def test_one_question_and_many(server: Server, library: QuestionAnswerer) -> None:
    status, found = server.ask({"question": "누가 태어났는가?", "document": TEXTS[0]})
    best = library.answer("누가 태어났는가?", TEXTS[0])
    assert status == 200 and best and found["answers"][0]["text"] == best.text
    assert found["answers"][0].keys() == vars(best).keys()
    questions = [{"question": "어디에서 태어났는가?", "documents": TEXTS[i : i + 3]} for i in range(3)]
    status, found = server.ask({"questions": questions, "top_k": 2})
    assert status == 200 and [len(result["answers"]) for result in found["results"]] == [2, 2, 2]
    for i, result in enumerate(found["results"]):
        expected = library.answer("어디에서 태어났는가?", TEXTS[i : i + 3], top_k=2)
        assert [(a["text"], a["document"]) for a in result["answers"]] == [(a.text, a.document) for a in expected]
    assert server.ask({"question": "누가?", "document": TEXTS[0], "min_probability": 1.0}) == (200, {"answers": []})
    server.answerer.min_probability = 1.0  # as calibrated
    assert server.ask({"question": "누가?", "document": TEXTS[0]}) == (200, {"answers": []})
    assert server.ask({"question": "누가?", "document": TEXTS[0], "min_probability": 0})[1]["answers"]


def test_the_api_describes_itself(server: Server) -> None:
    status, text = server.call("/health")
    assert status == 200 and json.loads(text) == {"status": "ok", "model": "tiny", "waiting": 0}
    description = json.loads(server.call("/openapi.json")[1])
    assert description["openapi"].startswith("3.") and "post" in description["paths"]["/answer"]
    content = description["paths"]["/answer"]["post"]["requestBody"]["content"]["application/json"]
    assert server.ask(content["example"])[0] == 200
    status, page = server.call("/docs")
    assert status == 200 and "POST /answer" in page.decode() and b"src=" not in page  # nothing from elsewhere


GOOD = {"question": "누가?", "document": "부산"}
REFUSED = [
    (b"{", 400, "body: broken JSON"),
    (b"\xb4\xa9", 400, "body: not UTF-8 at byte 0"),
    (b"[" * 9000, 400, "body: "),
    ([GOOD], 400, "body: found list"),
    ({}, 422, "question: found nothing"),
    ({"question": "누가?"}, 422, "documents: found nothing"),
    ({"question": "", "document": "부산"}, 422, "question: found an empty text"),
    ({"question": "누가?", "document": ""}, 422, "document: found an empty text"),
    ({"question": "누가?", "document": ["부산"]}, 422, "document: found list, expected text"),
    ({"question": "누가?", "documents": []}, 422, "documents: found an empty list"),
    ({"question": "누가?", "documents": ["부산", "\ud800"]}, 422, "documents[1]: found half a surrogate pair"),
    ({"question": "누가\0", "document": "부산"}, 422, "question: found NUL at character 2"),
    ({"question": 3, "document": "부산"}, 422, "question: found int, expected text"),
    (GOOD | {"documents": ["부산"]}, 422, "document: found documents too"),
    (GOOD | {"topk": 3}, 422, "'topk': no such field"),
    (GOOD | {"top_k": 0}, 422, "top_k: found 0"),
    (GOOD | {"min_probability": "0.5"}, 422, "min_probability: found '0.5'"),
    (b'{"question": "a", "document": "b", "min_probability": NaN}', 422, "min_probability: found nan"),
    ({"questions": []}, 422, "questions: found an empty list"),
    ({"questions": "누가?"}, 422, "questions: found str"),
    ({"questions": [GOOD, "누가?"]}, 422, "questions[1]: found str"),
    ({"questions": [GOOD, GOOD | {"document": " "}]}, 422, "questions[1].document: found nothing but white space"),
    ({"questions": [GOOD], "document": "부산"}, 422, "'document': no such field"),
    ({"questions": [GOOD] * 6}, 422, "questions: found 6, expected at most 5"),
    (
        {"questions": [GOOD | {"document": "a" * 1000}] * 4},
        422,
        "documents: found 4000 characters, expected at most 3000",
    ),
    (GOOD | {"document": "a" * 20_000}, 413, "body: found 20"),
]


def test_refusals_name_the_field_in_one_line(server: Server) -> None:
    for content, status, message in REFUSED:
        found, answer = server.ask(content)
        assert found == status and answer["error"].startswith(message) and "\n" not in answer["error"], (
            content,
            answer,
        )
    assert server.call("/answer", json.dumps(GOOD).encode(), {})[0] == 415
    assert server.call("/answer")[0] == 405
    assert server.call("/nothing")[0] == 404 and json.loads(server.call("/nothing")[1])["error"].startswith(
        "GET /nothing"
    )
    assert server.ask(GOOD)[0] == 200


def test_a_body_without_a_told_length_is_limited_too(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/answer", iter([b"x" * 5000] * 10), JSON, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413 and b"more than 20000 bytes" in response.read()


def test_a_body_that_does_not_come_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_app, "BODY_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_requests_that_wait_together_are_answered_together_and_none_is_swapped(
    server: Server, library: QuestionAnswerer
) -> None:
    server.answerer.go_on.clear()
    found: dict[int, Any] = {}

    def ask(i: int) -> None:
        found[i] = server.ask({"question": "누가 태어났는가?", "document": TEXTS[i % 16], "top_k": 1 + i % 3})

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(30)]
    for thread in threads:
        thread.start()
    while json.loads(server.call("/health")[1])["waiting"] < 30:
        pass
    server.answerer.go_on.set()
    for thread in threads:
        thread.join()
    assert sum(server.answerer.sizes) == 30 and len(server.answerer.sizes) <= 3
    for i, (status, answer) in found.items():
        expected = library.answer("누가 태어났는가?", TEXTS[i % 16], top_k=1 + i % 3)
        assert status == 200 and [one["text"] for one in answer["answers"]] == [one.text for one in expected]


def test_one_that_fails_takes_nobody_with_it_and_too_many_are_sent_away(server: Server) -> None:
    server.answerer.go_on.clear()
    found: dict[int, int] = {}

    def ask(i: int) -> None:
        found[i] = server.ask({"question": "터져라" if i == 3 else "누가?", "document": TEXTS[0]})[0]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(40)]
    for thread in threads:
        thread.start()
    while json.loads(server.call("/health")[1])["waiting"] < 40:
        pass
    status, answer = server.ask(GOOD)
    assert status == 503 and answer["error"].startswith("busy: 40 requests")
    with socket.create_connection(("127.0.0.1", server.port)) as client:  # one that goes before it is answered
        client.sendall(b"POST /answer HTTP/1.1\r\nHost: x\r\n")
    server.answerer.go_on.set()
    for thread in threads:
        thread.join()
    assert found.pop(3) == 500 and set(found.values()) == {200} and len(found) == 39
    assert server.ask(GOOD)[0] == 200


def test_what_waits_is_limited_by_its_characters_too(library: QuestionAnswerer) -> None:
    server = Server(Recording(library), Limits(max_waiting_characters=500))
    try:
        server.answerer.go_on.clear()
        threads = [threading.Thread(target=server.ask, args=(GOOD | {"document": "부산 " * 100},)) for _ in range(3)]
        for thread in threads:  # the first is in a batch at once, the others wait
            thread.start()
            while json.loads(server.call("/health")[1])["waiting"] <= threads.index(thread):
                pass
        assert server.ask(GOOD)[0] == 503
        server.answerer.go_on.set()
        for thread in threads:
            thread.join()
        assert server.ask(GOOD)[0] == 200
    finally:
        server.answerer.go_on.set()
        server.stop()


def test_sigterm_finishes_what_is_in_flight(taught: Path) -> None:
    command = [sys.executable, "-m", "kosplinter", "serve", "--model", str(taught), "--threads", "1", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        line = next(line for line in process.stderr if line.startswith("serving"))
        port = int(line.split("http://127.0.0.1:")[1].split()[0])
        long = {"question": "누가 태어났는가?", "document": "날마다 강가를 걷는다. " * 1000}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/answer", json.dumps(long).encode(), JSON)
        while True:
            probe = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            probe.request("GET", "/health")
            if json.loads(probe.getresponse().read())["waiting"]:
                break
        process.send_signal(signal.SIGTERM)
        response = connection.getresponse()
        assert response.status == 200 and json.loads(response.read())["answers"]
        assert process.wait(30) in (0, -signal.SIGTERM)
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--host 127.0.0.1 --port {port}: cannot listen there"):
            main(["serve", "--model", "any", "--port", str(port)])


def test_it_listens_on_this_machine_only_unless_told_otherwise() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    with listen(parser.parse_args([]).host, 0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
