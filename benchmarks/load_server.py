"""Load on `kosplinter serve`: many clients at once, some of them broken; every answer is compared with the library's.

    python benchmarks/load_server.py --model DIR [--clients 200] [--seconds 60] [--output report.json]

A tenth of the clients send half a body and go, broken JSON, other encodings, bodies that are too large, or nothing that
is HTTP. Requests are of mixed size: one question on a sentence up to 8 questions on documents of 6,000 characters.
Beside the server's figures stand those of a loop that answers the same requests one question after another.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter import QuestionAnswerer
from kosplinter_common.cli import exit_with_one_line

REQUESTS = 300  # different ones
VOCABULARY = (
    "세종 훈민정음 조선 한양 임금 글자 백성 학자 집현전 1443년 창제 반포 해례본 서울 부산 강가 사람 이름 나라 책"
)
WORDS = VOCABULARY.split()
QUESTIONS = ("누가 훈민정음을 만들었는가?", "언제 반포되었는가?", "어디에서 태어났는가?")
HEAD = "POST /answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
HEAD += "Content-Length: {}\r\n\r\n"
SAMPLE_SECONDS = 0.5  # between two looks at the server's memory


def make_requests(seed: int) -> list[dict[str, Any]]:
    generator = random.Random(seed)

    def document(number: int) -> str:
        size = generator.choice([10, 10, 10, 60, 60, 300, 1500])
        return f"{number}번 글. " + " ".join(generator.choice(WORDS) for _ in range(size)) + "."

    requests: list[dict[str, Any]] = []
    for number in range(REQUESTS):
        count = generator.choice([1, 1, 1, 1, 2, 8])
        asked = [{"question": generator.choice(QUESTIONS), "documents": [document(number)]} for _ in range(count)]
        requests.append(asked[0] if count == 1 else {"questions": asked})
    return requests


def loop_through(answerer: QuestionAnswerer, requests: list[dict[str, Any]]) -> tuple[list[list[str]], float]:
    """The answers' texts and the seconds of one question after another."""
    started, expected = time.perf_counter(), []
    for request in requests:
        asked = request.get("questions", [request])
        found = [answerer.answer(one["question"], one["documents"], min_probability=0) for one in asked]
        expected.append([f"{answer.start} {answer.text}" if answer else "" for answer in found])
    return expected, time.perf_counter() - started


class Load:
    """What clients saw."""

    def __init__(self, port: int, requests: list[dict[str, Any]], expected: list[list[str]], until: float) -> None:
        self.port, self.requests, self.expected, self.until = port, requests, expected, until
        self.seconds: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.questions = 0

    async def good_client(self, generator: random.Random) -> None:
        while time.perf_counter() < self.until:
            number = generator.randrange(len(self.requests))
            request = self.requests[number]
            started = time.perf_counter()
            status, body = await self._send(json.dumps(request | {"min_probability": 0}).encode())
            self.seconds.append(time.perf_counter() - started)
            if status != 200:
                self.outcomes[f"good: {status}"] += 1
                continue
            found = json.loads(body)
            texts = [
                f"{result['answers'][0]['start']} {result['answers'][0]['text']}" if result["answers"] else ""
                for result in found.get("results", [found])
            ]
            self.outcomes["good: right" if texts == self.expected[number] else "good: WRONG OR SWAPPED"] += 1
            self.questions += len(texts)

    async def broken_client(self, generator: random.Random) -> None:
        bodies = [b"{", b"\xb4\xa9\xb0\xa1", b"[" * 50_000, b'{"question": ""}', b"{}", b"x" * 5_000_000]
        while time.perf_counter() < self.until:
            kind = generator.randrange(len(bodies) + 3)
            try:
                if kind < len(bodies):
                    status, _ = await self._send(bodies[kind])
                    self.outcomes[f"broken: {status}"] += 1
                else:
                    await self._send_half(kind - len(bodies))
                    self.outcomes["broken: went away"] += 1
            except (OSError, asyncio.IncompleteReadError):
                self.outcomes["broken: cut off"] += 1
            await asyncio.sleep(0.02)

    async def _send(self, body: bytes) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(HEAD.format(len(body)).encode() + body)
            answer = await reader.read()
        finally:
            writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head.startswith(b"HTTP/") else 0, content

    async def _send_half(self, kind: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        whole = json.dumps(self.requests[0]).encode()
        head = HEAD.format(len(whole)).encode()
        writer.write((head + whole[:9], head[:30], b"\x16\x03\x01\0\xff" * 9)[kind])
        await writer.drain()
        writer.close()


async def load(
    port: int, pid: int, clients: int, seconds: float, requests: Any, expected: Any
) -> tuple[Load, list[int]]:
    """The load and the server's resident memory over time, in MiB."""
    found = Load(port, requests, expected, time.perf_counter() + seconds)
    broken = clients // 10
    tasks = [asyncio.create_task(found.good_client(random.Random(i))) for i in range(clients - broken)]
    tasks += [asyncio.create_task(found.broken_client(random.Random(-i))) for i in range(broken)]
    memory = []
    while not all(task.done() for task in tasks):
        resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
        memory.append(int(resident[1]) // 1024 if resident else 0)
        await asyncio.wait(tasks, timeout=SAMPLE_SECONDS)
    await asyncio.gather(*tasks)
    return found, memory


def start_server(model: str, threads: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "kosplinter", "serve", "--model", model, "--threads", str(threads), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[1])
    assert process.stderr
    line = next(line for line in process.stderr if line.startswith("serving"))
    port = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert port
    return process, int(port[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=1, help="threads that compute, in the server and in the loop")
    parser.add_argument("--output", help="JSON file of the report")
    flags = parser.parse_args()
    requests = make_requests(seed=0)
    answerer = QuestionAnswerer.from_pretrained(flags.model, threads=flags.threads)
    expected, alone = loop_through(answerer, requests)
    process, port = start_server(flags.model, flags.threads)
    try:
        started = time.perf_counter()
        found, memory = asyncio.run(load(port, process.pid, flags.clients, flags.seconds, requests, expected))
        wall = time.perf_counter() - started
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        log = process.stderr.read() if process.stderr else ""
    finally:
        process.kill()
    report = {
        "clients": flags.clients,
        "seconds": wall,
        "outcomes": dict(found.outcomes),
        "requests_per_second": len(found.seconds) / wall,
        "questions_per_second": found.questions / wall,
        "p50_ms": 1000 * float(np.percentile(found.seconds, 50)),
        "p99_ms": 1000 * float(np.percentile(found.seconds, 99)),
        "loop_questions_per_second": sum(map(len, expected)) / alone,
        "memory_mib_first_last_peak": [memory[0], memory[-1], max(memory)],
        "exit_status": status,
        "tracebacks": log.count("Traceback"),
    }
    print(json.dumps(report, indent=2))
    if flags.output:
        Path(flags.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    exit_with_one_line(main)
