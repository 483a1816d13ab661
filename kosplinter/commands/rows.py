"""Questions of a file or a stream, row by row, and the rows that answer them."""

import json
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetuning.qa.questions import load_questions
from kosplinter.answering.answerer import QuestionAnswerer
from kosplinter.engine.inputs import Request, checked_request
from kosplinter_common.cli import InputError

ID_KEYS = ("id", "qid", "question_id", "guid")
DOCUMENT_KEYS = ("documents", "document", "context")
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Row:
    """A question with its id; `error` says in one line why it cannot be asked."""

    id: str
    request: Request | None
    error: str = ""


def row_of(content: Any, default_id: str) -> Row:
    """The row of a JSON value."""
    if not isinstance(content, dict):
        return Row(default_id, None, f"found {type(content).__name__}, expected an object with question and documents")
    name = next((content[key] for key in ID_KEYS if content.get(key) not in (None, "")), default_id)
    if not isinstance(name, str | int) or isinstance(name, bool):
        return Row(default_id, None, f"id: found {type(name).__name__}, expected a text or a number")
    keys = [key for key in DOCUMENT_KEYS if key in content]
    if len(keys) > 1:
        return Row(str(name), None, f"{keys[1]}: found {keys[0]} too, expected one of them")
    try:
        return Row(str(name), checked_request(content.get("question"), content[keys[0]] if keys else None))
    except InputError as error:
        return Row(str(name), None, str(error))


def rows_of_lines(lines: Iterable[bytes]) -> Iterator[Row]:
    """Rows of JSON lines; blank ones are passed over. A row without id has its line's number."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _row_of_line(line, number)


def _row_of_line(line: bytes, number: int) -> Row:
    try:
        return row_of(json.loads(line.decode("utf-8-sig")), str(number))
    except UnicodeDecodeError as error:
        return Row(str(number), None, f"line {number}: not UTF-8 at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Row(str(number), None, f"line {number}: broken JSON: {error}")


def rows_of_file(path: str) -> tuple[list[Row], dict[str, int]]:
    """All rows of a file: of JSON lines with questions as above, or of any layout that run_qa.py reads, in which what
    is left out is counted.

    Raises:
      InputError: no such file, or one that holds no question.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    with open(path, "rb") as file:
        first = next((line for line in file if line.strip()), b"")
    if _is_row(first):
        with open(path, "rb") as file:
            return list(rows_of_lines(file)), {}
    data = load_questions(path)
    contents = [{"id": e.id, "question": e.question, "context": e.context} for e in data.examples]
    return [row_of(content, content["id"]) for content in contents], data.fault_counts()


def _is_row(line: bytes) -> bool:
    try:
        content = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "question" in content


def answered(
    answerer: QuestionAnswerer, rows: list[Row], top_k: int, min_probability: float | None
) -> list[dict[str, Any]]:
    """A row of output for each of input: {id, question, answers}, or {id, error}."""
    requests = [(row.request.question, row.request.documents) for row in rows if row.request]
    rankings = iter(answerer.answer_many(requests, top_k=top_k, min_probability=min_probability) if requests else [])
    found: list[dict[str, Any]] = []
    for row in rows:
        if row.request is None:
            found.append({"id": row.id, "error": row.error})
        else:
            answers = [asdict(answer) for answer in next(rankings)]
            found.append({"id": row.id, "question": row.request.question, "answers": answers})
    return found


def as_they_come(rows: Iterable[Row], size: int = ROWS_AT_ONCE) -> Iterator[list[Row]]:
    """Parts of at most `size` rows: all that are there already, so that a slow stream is answered row by row."""
    waiting: queue.Queue[Row | BaseException | None] = queue.Queue(size)

    def feed() -> None:
        try:
            for row in rows:
                waiting.put(row)
            waiting.put(None)
        except BaseException as error:  # told to the reader, who would wait for ever
            waiting.put(error)

    threading.Thread(target=feed, daemon=True).start()
    part: list[Row] = []
    while True:
        try:
            row = waiting.get(block=not part)
        except queue.Empty:
            row = None
            yield part
            part = []
            continue
        if isinstance(row, BaseException):
            raise row
        if row is None:
            break
        part.append(row)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
