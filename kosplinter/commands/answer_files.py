"""A file of questions to a file of answers that appears whole, and a stream to a stream."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, BinaryIO

from tqdm import tqdm

from finetuning.qa.results import write_json
from kosplinter.answering.answerer import QuestionAnswerer
from kosplinter.commands.models import SIZES
from kosplinter.commands.rows import ROWS_AT_ONCE, Row, answered, as_they_come, rows_of_file, rows_of_lines
from kosplinter_common.cli import InputError
from kosplinter_common.files import file_sha256

SETTINGS = ("model", "onnx", "dtype", "top_k", "min_probability", *SIZES)


class Refusals:
    """Questions that could not be asked: counted, and said at the end."""

    def __init__(self) -> None:
        self._total, self._refused, self._first = 0, 0, ""

    def count(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._total += 1
            if "error" in row:
                self._refused += 1
                self._first = self._first or f"{row['id']}: {row['error']}"

    def say(self) -> None:
        """Raises InputError if there was one."""
        if self._refused:
            raise InputError(f"{self._refused} of {self._total} questions could not be asked; the first: {self._first}")


def answer_stream(
    answerer: QuestionAnswerer,
    input_file: str | None,
    lines: BinaryIO,
    output: IO[str],
    top_k: int,
    min_probability: float | None,
) -> None:
    """JSON lines to JSON lines, each answer as soon as it is there.

    Raises:
      InputError: at the end, if some of the questions could not be asked.
    """
    refusals = Refusals()
    if input_file:
        rows, left_out = rows_of_file(input_file)
        _say_left_out(input_file, left_out)
    for part in as_they_come(rows if input_file else rows_of_lines(lines)):
        found = answered(answerer, part, top_k, min_probability)
        refusals.count(found)
        output.write("".join(_line(row) for row in found))
        output.flush()
    refusals.say()


def _line(row: dict[str, Any]) -> str:
    # a lone surrogate in an id could not be written as UTF-8
    text = json.dumps(row, ensure_ascii=False)
    return (text if text.isascii() or _is_utf8(text) else json.dumps(row)) + "\n"


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _say_left_out(path: str, left_out: dict[str, int]) -> None:
    if left_out:
        print(f"{path}: {left_out}", file=sys.stderr)


def answer_file(load: Callable[[], QuestionAnswerer], flags: argparse.Namespace) -> None:
    """Answers `flags.input` into `flags.output`, going on where an equal run was stopped.

    Until all is answered, lines are kept beside the output, with what identifies the run.

    Raises:
      InputError: the output is there already, or another run's beginning of it; some question could not be asked (the
        others are answered all the same).
    """
    output = Path(flags.output)
    if output.suffix not in (".jsonl", ".json"):
        raise InputError(f"--output: found {output.name!r}, expected a name that ends in .jsonl or .json")
    if output.exists() and not flags.overwrite:
        raise InputError(f"{output}: it is there already; say --overwrite, or choose another file")
    rows, left_out = rows_of_file(flags.input)
    _say_left_out(flags.input, left_out)
    partial, identity_file = output.with_name(f".{output.name}.partial"), output.with_name(f".{output.name}.run.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    identity = {name: getattr(flags, name, None) for name in SETTINGS} | {"input": file_sha256(flags.input)}
    identity["weights"] = _weights(flags)
    answerer = load()  # before anything is written: a model that cannot be used leaves nothing behind
    done = _lines_done(partial, identity_file, identity, rows)
    if not done:
        partial.write_bytes(b"")
        write_json(identity_file, identity)
    _answer_rest(answerer, rows, done, partial, flags)
    refusals = Refusals()
    with partial.open(encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    refusals.count(found)
    if output.suffix == ".json":
        write_json(output, {row["id"]: row["answers"][0]["text"] if row.get("answers") else "" for row in found})
        partial.unlink()
    else:
        os.replace(partial, output)
    identity_file.unlink()
    refusals.say()


def _weights(flags: argparse.Namespace) -> str:
    """A sum over the sizes and times of a model folder's files: another model by the same name is another run."""
    folder = Path(flags.model or flags.onnx or "")
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.*"))]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()


def _lines_done(partial: Path, identity_file: Path, identity: dict[str, Any], rows: list[Row]) -> int:
    """How many rows an equal run has answered; a line torn off at its end is dropped."""
    if not partial.is_file() or not identity_file.is_file():
        return 0
    previous = json.loads(identity_file.read_text(encoding="utf-8"))
    for name, value in identity.items():
        if previous.get(name) != value:
            raise InputError(
                f"{partial}: begun by another run: found {name} {previous.get(name)!r}, expected {value!r}; "
                "remove it, or choose another --output"
            )
    with partial.open("rb+") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.seek(0)
        return min(sum(1 for _ in file), len(rows))


def _answer_rest(
    answerer: QuestionAnswerer, rows: list[Row], done: int, partial: Path, flags: argparse.Namespace
) -> None:
    if done:
        print(f"{flags.output}: going on behind {done} of {len(rows)} questions", file=sys.stderr)
    with partial.open("a", encoding="utf-8") as file, tqdm(total=len(rows), initial=done, unit="question") as bar:
        for first in range(done, len(rows), ROWS_AT_ONCE):
            part = rows[first : first + ROWS_AT_ONCE]
            file.write("".join(_line(row) for row in answered(answerer, part, flags.top_k, flags.min_probability)))
            file.flush()
            bar.update(len(part))
