"""Questions from the layouts people have, told apart by content.

KorQuAD/SQuAD 1.1, SQuAD 2.0, KLUE-MRC, AI Hub 기계독해 (answers as a list or as one object), MRQA JSONL(.gz), and
JSONL of {context, question, answer_text, answer_start}.
"""

import gzip
import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kosplinter_common.cli import InputError, expand_globs

# The original's preparation ends each question in " [MASK]."; features write the question token themselves.
PREPARED_SUFFIX = re.compile(r"\s*\[(?:MASK|QUESTION)\]\s*\.?\s*$")
ID_KEYS = ("id", "qid", "question_id", "guid")


@dataclass(frozen=True, slots=True)
class QAExample:
    """A question on a context. `spans` are (first character, text) to learn from, `golds` what metrics compare with."""

    id: str
    question: str
    context: str
    spans: tuple[tuple[int, str], ...]
    golds: tuple[str, ...]
    article: str
    labelled: bool = True  # False: a test question, whose answer is not told

    @property
    def answerable(self) -> bool:
        return bool(self.golds) or not self.labelled


@dataclass(frozen=True, slots=True)
class Fault:
    """A question that could not be used as it stands, and why."""

    id: str
    reason: str
    detail: str = ""


@dataclass
class QAData:
    """What the files held: usable questions in file order, faults, and how many questions came prepared."""

    examples: list[QAExample] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    prepared_questions: int = 0

    def fault_counts(self) -> dict[str, int]:
        return dict(Counter(fault.reason for fault in self.faults))


def has_unanswerable(examples: Iterable[QAExample]) -> bool:
    return any(not example.answerable for example in examples)


def load_questions(patterns: str) -> QAData:
    """Reads all files that comma-separated glob patterns name.

    Raises:
      InputError: a pattern matches nothing; a file is not UTF-8, not JSON, of an unknown layout, or has no question.
    """
    data = QAData()
    seen: set[str] = set()
    for path in expand_globs(patterns):
        before = len(data.examples)
        for raw in _raw_questions(Path(path)):
            _add_question(data, raw, seen, path)
        if len(data.examples) == before:
            raise InputError(f"{path}: found no usable question ({data.fault_counts() or 'no question at all'})")
    return data


def _add_question(data: QAData, raw: QAExample, seen: set[str], path: str) -> None:
    if raw.id in seen:
        data.faults.append(Fault(raw.id, "duplicate_id", path))
        return
    seen.add(raw.id)
    if not raw.question.strip():
        data.faults.append(Fault(raw.id, "empty_question", path))
        return
    question, prepared = PREPARED_SUFFIX.subn("", raw.question)
    data.prepared_questions += prepared
    data.examples.append(replace(raw, question=question.strip()))


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


def _raw_questions(path: Path) -> Iterator[QAExample]:
    text = _read_text(path)
    if not text.strip():
        raise InputError(f"{path}: the file is empty, expected questions")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.split("\n")  # not splitlines: JSON strings may hold other line ends as they are
        if not _is_json_object(next(line for line in lines if line.strip())):
            raise InputError(
                f"{path}: broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
            ) from error
        content = [_parse_line(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
    try:
        yield from _questions_of(content, str(path))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: not a layout this reader knows ({type(error).__name__}: {error})") from error


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


def _questions_of(content: Any, path: str) -> Iterator[QAExample]:
    if isinstance(content, dict) and "data" in content:
        yield from _squad_questions(content["data"], path)
        return
    rows = content if isinstance(content, list) else [content]
    rows = [row for row in rows if "header" not in row]
    for number, row in enumerate(rows):
        if "qas" in row:
            yield from _mrqa_questions(row, f"{path}#{number}")
        elif "paragraphs" in row:
            yield from _squad_questions([row], f"{path}#{number}")
        else:
            yield _flat_question(row, f"{path}#{number}")


def _squad_questions(articles: Iterable[dict[str, Any]], path: str) -> Iterator[QAExample]:
    for number, article in enumerate(articles):
        name = str(article.get("title") or article.get("doc_id") or article.get("content_id") or f"{path}#{number}")
        for paragraph_number, paragraph in enumerate(article["paragraphs"]):
            for question_number, question in enumerate(paragraph["qas"]):
                impossible = _is_true(question.get("is_impossible"))
                answers = () if impossible else _answers_of(question.get("answers"))
                yield QAExample(
                    id=_id_of(question, f"{path}#{number}.{paragraph_number}.{question_number}"),
                    question=str(question["question"]),
                    context=str(paragraph["context"]),
                    spans=tuple((start, text) for start, text in answers if start >= 0),
                    golds=tuple(text for _, text in answers),
                    article=name,
                    labelled=impossible or question.get("answers") is not None,
                )


def _answers_of(answers: Any) -> tuple[tuple[int, str], ...]:
    """(first character, text) of a list of objects, of one object, or of columns; −1 where no place is given."""
    if isinstance(answers, dict) and isinstance(answers.get("text"), list):
        starts = answers.get("answer_start") or [-1] * len(answers["text"])
        return tuple((int(start), str(text)) for start, text in zip(starts, answers["text"], strict=True))
    rows = [answers] if isinstance(answers, dict) else answers or []
    return tuple((int(row["answer_start"]), str(row["text"])) for row in rows)


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _id_of(question: dict[str, Any], default: str) -> str:
    return next((str(question[key]) for key in ID_KEYS if question.get(key) not in (None, "")), default)


def _mrqa_questions(row: dict[str, Any], default: str) -> Iterator[QAExample]:
    context = str(row["context"])
    for number, question in enumerate(row["qas"]):
        spans = tuple(_mrqa_spans(question.get("detected_answers") or [], context, row.get("context_tokens")))
        golds = tuple(str(answer) for answer in question.get("answers") or [text for _, text in spans])
        yield QAExample(
            _id_of(question, f"{default}.{number}"),
            str(question["question"]),
            context,
            spans,
            golds,
            article=context,
            labelled=question.keys() & {"answers", "detected_answers"} != set(),
        )


def _mrqa_spans(detected: list[dict[str, Any]], context: str, tokens: list[Any] | None) -> Iterator[tuple[int, str]]:
    """MRQA's spans are inclusive, in characters or, where those are missing, in its own tokens [text, offset].

    Where a place holds another text than the answer's own (but for case and white space), the answer's own is given,
    so that the difference comes out where features are built.
    """
    for answer in detected:
        char_spans = answer.get("char_spans")
        if char_spans is None and tokens is not None:
            char_spans = [
                (tokens[first][1], tokens[last][1] + len(tokens[last][0]) - 1)
                for first, last in answer.get("token_spans") or []
            ]
        for first, last in char_spans or []:
            found = context[int(first) : int(last) + 1]
            told = str(answer.get("text", found))
            yield int(first), found if _squeezed(found) == _squeezed(told) else told


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _flat_question(row: dict[str, Any], default: str) -> QAExample:
    answers: tuple[tuple[int, str], ...] = ()
    if "answers" in row:
        answers = _answers_of(row["answers"])
    elif row.get("answer_text"):
        start = row.get("answer_start")
        answers = ((-1 if start is None else int(start), str(row["answer_text"])),)
    context = str(row["context"])
    return QAExample(
        id=_id_of(row, default),
        question=str(row["question"]),
        context=context,
        spans=tuple((start, text) for start, text in answers if start >= 0),
        golds=tuple(text for _, text in answers),
        article=str(row.get("title") or context),
        labelled=row.keys() & {"answers", "answer_text"} != set(),
    )


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
