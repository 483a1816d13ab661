"""Questions from files of any layout (see layouts.py): reading, ids that name one question each, splitting, writing."""

import gzip
import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from finetuning.qa.examples import MENDED, Fault, QAExample
from finetuning.qa.layouts import questions_of
from kosplinter_common.cli import InputError, expand_globs

# The original's preparation ends each question in " [MASK]."; features write the question token themselves.
PREPARED_SUFFIX = re.compile(r"\s*\[(?:MASK|QUESTION)\]\s*\.?\s*$")


@dataclass
class QAData:
    """What the files held: usable questions in file order, faults, and how many questions came prepared."""

    examples: list[QAExample] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    prepared_questions: int = 0

    def fault_counts(self) -> dict[str, int]:
        return dict(Counter(fault.reason for fault in self.faults))

    def left_out(self) -> dict[str, int]:
        """How many questions are not among the examples, by reason; with them they add up to all that were read."""
        return dict(Counter(fault.reason for fault in self.faults if fault.reason not in MENDED))

    def mended(self) -> dict[str, int]:
        return dict(Counter(fault.reason for fault in self.faults if fault.reason in MENDED))


def has_unanswerable(examples: Iterable[QAExample]) -> bool:
    return any(not example.answerable for example in examples)


def load_questions(patterns: str) -> QAData:
    """Reads all files that comma-separated glob patterns name.

    What cannot be read of a file, or is mended, is listed. Ids that start anew in another file are kept apart: there
    a question whose id is taken by another question gets its file's name before its id.

    Raises:
      InputError: a pattern matches nothing; a file is not UTF-8, not JSON, of an unknown layout, or has no question.
    """
    data = QAData()
    taken: dict[str, QAExample] = {}
    for path in expand_globs(patterns):
        before, faults = len(data.examples), len(data.faults)
        own: set[str] = set()  # ids as this file writes them
        name = Path(path).name  # questions without an id get one of it, the same from wherever the file is read
        for found in questions_of(_read_content(Path(path)), name):
            if isinstance(found, Fault):
                data.faults.append(replace(found, detail=path.removesuffix(name) + found.detail))
            else:
                _add_question(data, found, taken, own, path)
        new_faults = data.faults[faults:]
        known_already = bool(new_faults) and all(fault.reason == "duplicate_id" for fault in new_faults)
        if len(data.examples) == before and not known_already:
            raise InputError(f"{path}: " + _why_empty(new_faults))
    return data


def _why_empty(faults: list[Fault]) -> str:
    unreadable = [fault for fault in faults if fault.reason.startswith("unreadable")]
    if unreadable and len(unreadable) == len(faults):
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        return f"not a layout this reader knows: {unreadable[0].detail}{more}"
    counts = dict(Counter(fault.reason for fault in faults))
    return f"found no usable question ({counts or 'no question at all'})"


def _add_question(data: QAData, raw: QAExample, taken: dict[str, QAExample], own: set[str], path: str) -> None:
    question, prepared = PREPARED_SUFFIX.subn("", raw.question)
    example = replace(raw, question=question.strip())
    other = taken.get(example.id)
    if example.id in own or (other and (other.question, other.context) == (example.question, example.context)):
        data.faults.append(Fault(example.id, "duplicate_id", path))
        return
    own.add(example.id)
    if not raw.question.strip():
        data.faults.append(Fault(raw.id, "empty_question", path))
        return
    if other:
        names = (f"{Path(path).name}:{raw.id}", f"{path}:{raw.id}")
        example = replace(example, id=next(name for name in names if name not in taken))
        data.faults.append(Fault(raw.id, "id_of_another_file", f"{path}: kept as {example.id}"))
    taken[example.id] = example
    data.prepared_questions += prepared
    data.examples.append(example)


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}: found {content[error.start]:#04x}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: broken gzip file ({error})") from error


def _read_content(path: Path) -> Any:
    """A file's JSON, or the list of its lines' JSON."""
    text = _read_text(path)
    if not text.strip():
        raise InputError(f"{path}: the file is empty, expected questions")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.split("\n")  # not splitlines: JSON strings may hold other line ends as they are
        if not _is_json_object(next(line for line in lines if line.strip())):
            raise InputError(
                f"{path}: broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
            ) from error
        return [_parse_line(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _parse_line(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: broken JSON at line {number}, column {error.colno}: {error.msg}") from error


def split_by_article(
    examples: list[QAExample], train_share: float, seed: int
) -> tuple[list[QAExample], list[QAExample]]:
    """Two sets of questions that share neither an article nor a context; `train_share` of the articles go first.

    Raises:
      InputError: fewer than two articles, so that one side would be empty.
    """
    group_of_context: dict[str, str] = {}
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    for example in examples:
        other = group_of_context.setdefault(example.context, example.article)
        parents[root(example.article)] = root(other)
    groups = sorted({root(example.article) for example in examples})
    if len(groups) < 2:
        raise InputError(f"cannot split by article: found {len(groups)} article, expected at least 2")
    random.Random(seed).shuffle(groups)
    cut = min(max(round(train_share * len(groups)), 1), len(groups) - 1)
    chosen = set(groups[:cut])
    train = [example for example in examples if root(example.article) in chosen]
    return train, [example for example in examples if root(example.article) not in chosen]


def squad_json(examples: Iterable[QAExample]) -> dict[str, Any]:
    """The questions in SQuAD layout, one paragraph entry per context, in order of first appearance.

    An answer without a place in the context starts at −1; a question whose answer is not told has no "answers".
    """
    articles: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for example in examples:
        question: dict[str, Any] = {"id": example.id, "question": example.question}
        if example.labelled:
            placed = {text for _, text in example.spans}
            answers = [*example.spans, *((-1, text) for text in example.golds if text not in placed)]
            question["answers"] = [{"text": text, "answer_start": start} for start, text in answers]
            question["is_impossible"] = not example.answerable
        articles.setdefault(example.article, {}).setdefault(example.context, []).append(question)
    return {
        "version": "KoSplinter",
        "data": [
            {"title": title, "paragraphs": [{"context": text, "qas": qas} for text, qas in paragraphs.items()]}
            for title, paragraphs in articles.items()
        ],
    }
