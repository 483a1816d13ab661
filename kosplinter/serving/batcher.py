"""Requests that wait at the same time are answered together: one batch after another, in a thread of its own."""

import asyncio
import sys
import traceback
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kosplinter.answering.answerer import QuestionAnswerer
from kosplinter.engine.answer import Answer
from kosplinter.serving.bodies import Asked

QUESTIONS_AT_ONCE = 64
CHARACTERS_AT_ONCE = 200_000  # so that small requests do not wait long for large ones beside them


@dataclass(frozen=True)
class _Waiting:
    asked: Asked
    found: "asyncio.Future[list[list[Answer]]]"


class Batcher:
    """Answers come to who asked: each request has a future of its own."""

    def __init__(self, answerer: QuestionAnswerer) -> None:
        self._answerer = answerer
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._in_batch = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Requests that have no answer yet."""
        return len(self._queue) + self._in_batch

    @property
    def characters(self) -> int:
        """Of the documents of all requests that no batch has taken yet."""
        return sum(waiting.asked.characters for waiting in self._queue)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Call when no request waits any more."""
        if self._task:
            self._task.cancel()
        self._executor.shutdown()

    async def answer(self, asked: Asked) -> list[list[Answer]]:
        waiting = _Waiting(asked, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._arrived.set()
        return await waiting.found

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._next_batch()
            self._in_batch = len(batch)
            for part in await loop.run_in_executor(self._executor, self._answer_batch, batch):
                waiting, found = part
                if waiting.found.done():  # the client has gone
                    continue
                if isinstance(found, Exception):
                    waiting.found.set_exception(found)
                else:
                    waiting.found.set_result(found)
            self._in_batch = 0
            if not self._queue:
                self._arrived.clear()

    def _next_batch(self) -> list[_Waiting]:
        """Those who have waited longest, whose client is still there; at least one if there is any."""
        batch: list[_Waiting] = []
        questions = characters = 0
        while self._queue:
            asked = self._queue[0].asked
            questions, characters = questions + len(asked.requests), characters + asked.characters
            if batch and (questions > QUESTIONS_AT_ONCE or characters > CHARACTERS_AT_ONCE):
                break
            first = self._queue.popleft()
            if not first.found.done():
                batch.append(first)
        return batch

    def _answer_batch(self, batch: list[_Waiting]) -> list[tuple[_Waiting, list[list[Answer]] | Exception]]:
        try:
            return list(zip(batch, self._answers([waiting.asked for waiting in batch]), strict=True))
        except Exception as error:
            if len(batch) == 1:
                traceback.print_exc(file=sys.stderr)
                return [(batch[0], error)]
        # one of them is to blame: the others get their answers
        return [part for waiting in batch for part in self._answer_batch([waiting])]

    def _answers(self, batch: list[Asked]) -> list[list[list[Answer]]]:
        """As many answers to each question as the greediest asks for, then cut to what each asked for."""
        if not batch:
            return []
        pairs = [(request.question, request.documents) for asked in batch for request in asked.requests]
        top_k = max(asked.top_k for asked in batch)
        rankings = iter(self._answerer.answer_many(pairs, top_k=top_k, min_probability=0.0))
        found = []
        for asked in batch:
            least = self._answerer.min_probability if asked.min_probability is None else asked.min_probability
            own = [next(rankings)[: asked.top_k] for _ in asked.requests]
            found.append([[answer for answer in ranking if answer.probability >= least] for ranking in own])
        return found
