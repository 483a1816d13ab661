"""The layouts that questions come in, told apart row by row.

A file is one row or a list of rows, bare or under "data". A row is an article (`paragraphs` of {context, qas}), a
context with its `qas` (MRQA, KorQuAD 2.x, plain lists of paragraphs), or one question with its context (JSONL, and
SQuAD, KorQuAD, KLUE-MRC and MRQA as the Hub exports them). Answers are objects {text, answer_start}, one or a list,
columns, bare texts, or MRQA's detected_answers. KorQuAD 2.x is read as the text of its HTML.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from finetuning.qa.examples import Fault, QAExample, without_lone_surrogates
from finetuning.qa.html_text import html_text

ID_KEYS = ("id", "qid", "question_id", "guid")
MRQA_ID_KEYS = ("qid", "id")  # MRQA's own scores go by qid
ARTICLE_KEYS = ("title", "doc_id", "content_id")
ANSWER_KEYS = ("answers", "answer", "answer_text")
HTML_PAGE = re.compile(r"\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
NO_PLACE = -1
YES, NO = ("true", "1", "1.0", "yes", "y"), ("false", "0", "0.0", "no", "n", "", "none", "nan")  # tables write 1.0

Answer = tuple[int, str]  # first character or NO_PLACE, text
JSON_NAMES = {"NoneType": "null", "bool": "true or false", "str": "text", "dict": "object", "float": "number"}


class RowError(ValueError):
    """A row, or one question of it, that cannot be read: what was found and expected."""


@dataclass(frozen=True)
class _Row:
    """Where a row stands (`file#0.1`), the article's name, and what holds for each question of its context."""

    place: str
    article: str
    context: Any
    html: bool = False
    context_tokens: Any = None
    mrqa: bool = False


def questions_of(content: Any, name: str) -> Iterator[QAExample | Fault]:
    """The questions of a file's JSON, and the faults of those that are left out or were mended.

    name: of the file; rows and questions without an id are called by it and their place, from 0: `name#3.0`.
    """
    if isinstance(content, dict) and "data" in content:
        content = content["data"]
    rows = content if isinstance(content, list) else [content]
    mrqa = False
    for number, row in enumerate(rows):
        place = f"{name}#{number}"
        try:
            _expect(row, dict, "row")
            if "header" in row and not row.keys() & {"qas", "paragraphs", "context"}:
                mrqa = True  # MRQA's first line names the data set
            elif "paragraphs" in row:
                for index, paragraph in enumerate(_expect(row["paragraphs"], list, "paragraphs")):
                    yield from _paragraph(paragraph, row, f"{place}.{index}", place, mrqa)
            else:
                yield from _paragraph(row, row, place, place, mrqa)
        except RowError as error:
            yield Fault(place, "unreadable_row", f"{place}: {error}")


def _paragraph(
    paragraph: Any, article: dict[str, Any], place: str, name: str, mrqa: bool
) -> Iterator[QAExample | Fault]:
    """The questions of one context; a row without `qas` is its own only question."""
    try:
        _expect(paragraph, dict, "paragraph")
        if "qas" not in paragraph and "question" not in paragraph:
            raise RowError(f"found the keys {', '.join(paragraph) or 'none'}, expected paragraphs, qas or question")
        row = _Row(
            place,
            _article_name(article, paragraph, name),
            paragraph.get("context"),
            html="raw_html" in article or "raw_html" in paragraph,
            context_tokens=paragraph.get("context_tokens"),
            mrqa=mrqa,
        )
        if "qas" not in paragraph:
            yield from _question(paragraph, row, place)
            return
        questions = _expect(paragraph["qas"], list, "qas")
    except RowError as error:
        yield Fault(place, "unreadable_row", f"{place}: {error}")
        return
    for number, question in enumerate(questions):
        yield from _question(question, row, f"{place}.{number}")


def _article_name(article: dict[str, Any], paragraph: dict[str, Any], default: str) -> str:
    named = next((str(article[key]) for key in ARTICLE_KEYS if article.get(key) not in (None, "")), None)
    if named is None and article is paragraph and isinstance(paragraph.get("context"), str):
        return paragraph["context"]  # so that rows on one context stay together
    return named or default


def _question(question: Any, row: _Row, place: str) -> Iterator[QAExample | Fault]:
    """One question, behind the faults that were mended in it; or the fault that leaves it out."""
    notes: list[Fault] = []
    name = place
    try:
        _expect(question, dict, "question")
        mrqa = row.mrqa or _is_mrqa(question, row)
        name = without_lone_surrogates(_id_of(question, place, MRQA_ID_KEYS if mrqa else ID_KEYS))
        text, context = _text(question.get("question"), "question"), _text(row.context, "context")
        impossible = _is_impossible(question.get("is_impossible"))
        spans, golds = ((), ()) if impossible else _spans_and_golds(question, row, context, name, place, notes)
        told = impossible or _told(question) is not None or question.get("detected_answers") is not None
        html = _is_html(question, row, context)
        example = QAExample(name, text, context, spans, golds, row.article, told)
        example = _without_html(example) if html else example
    except RowError as error:
        yield Fault(name, "unreadable_question", f"{place}: {error}")
        return
    mended = _without_lone_surrogates(example)
    if mended != example:
        notes.append(Fault(name, "lone_surrogate", f"{place}: half a surrogate pair became U+FFFD"))
    yield from notes
    yield mended


def _is_mrqa(question: dict[str, Any], row: _Row) -> bool:
    answers = question.get("answers")
    texts = isinstance(answers, list) and bool(answers) and all(isinstance(answer, str) for answer in answers)
    return texts or "detected_answers" in question or row.context_tokens is not None


def _id_of(question: dict[str, Any], default: str, first: tuple[str, ...]) -> str:
    for key in dict.fromkeys((*first, *ID_KEYS)):
        value = question.get(key)
        if value not in (None, "") and value == value:  # NaN is what tables write for nothing
            if isinstance(value, bool | list | dict):
                raise RowError(f"{key}: found {_kind(value)}, expected a text or a number")
            return str(value)
    return default


def _is_impossible(value: Any) -> bool:
    said = str(value).strip().lower()
    if said not in YES and said not in NO:
        raise RowError(f"is_impossible: found {value!r}, expected true or false")
    return said in YES


def _told(question: dict[str, Any]) -> Any:
    """What stands under the first answer key that holds anything; None where the answer is not told."""
    return next((question[key] for key in ANSWER_KEYS if question.get(key) is not None), None)


def _spans_and_golds(
    question: dict[str, Any], row: _Row, context: str, name: str, place: str, notes: list[Fault]
) -> tuple[tuple[Answer, ...], tuple[str, ...]]:
    """Answers with a place, and all texts that count as right; notes get what was mended."""
    answers = _answers_of(_told(question), question, name, place, notes)
    golds = tuple(text for _, text in answers if text.strip())
    if len(golds) < len(answers):
        notes.append(Fault(name, "blank_answer", f"{place}: a blank text is no answer"))
    spans = tuple((start, text) for start, text in answers if start != NO_PLACE and text.strip())
    if question.get("detected_answers") is not None:
        try:
            spans = tuple(_detected_spans(question["detected_answers"], context, row.context_tokens))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise RowError(f"detected_answers: not MRQA's ({type(error).__name__}: {error})") from error
        golds = golds or tuple(text for _, text in spans)
    return spans, golds


def _answers_of(told: Any, question: dict[str, Any], name: str, place: str, notes: list[Fault]) -> tuple[Answer, ...]:
    """Answers as objects, one or a list; as columns {text: [], answer_start: []}; or as texts, places beside them."""

    def answer(text: Any, start: Any, has_start: bool) -> Answer:
        found = _whole_number(start)
        if has_start and found is None:
            told_place = "null" if start is None else repr(start)
            notes.append(
                Fault(name, "answer_start_unreadable", f"{place}: answer_start: found {told_place}, expected a number")
            )
        return (NO_PLACE if found is None else found), _text(text, "answer")

    if told is None:
        return ()
    if isinstance(told, dict) and isinstance(told.get("text"), list):
        texts, starts = told["text"], told.get("answer_start")
    elif isinstance(told, list) and any(isinstance(item, dict) for item in told):
        return tuple(answer(*_text_and_start(item)) for item in told)
    elif isinstance(told, dict):
        return (answer(*_text_and_start(told)),)
    else:
        texts = told if isinstance(told, list) else [told]
        starts = question.get("answer_start")
    starts = [None] * len(texts) if starts is None else starts if isinstance(starts, list) else [starts]
    if len(starts) != len(texts):
        raise RowError(f"answer_start: found {len(starts)} places, expected {len(texts)}, one an answer")
    has_starts = "answer_start" in question or isinstance(told, dict)
    return tuple(answer(text, start, has_starts) for text, start in zip(texts, starts, strict=True))


def _text_and_start(answer: Any) -> tuple[Any, Any, bool]:
    _expect(answer, dict, "answer")
    if "text" not in answer:
        raise RowError(f"answer: found the keys {', '.join(answer) or 'none'}, expected text and answer_start")
    return answer["text"], answer.get("answer_start"), True


def _whole_number(value: Any) -> int | None:
    """A number of characters, also as "28" or 28.0, or NO_PLACE; None for anything else."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        return None
    return int(number) if number.is_integer() and number >= NO_PLACE else None


def _detected_spans(detected: Any, context: str, tokens: Any) -> Iterator[Answer]:
    """MRQA's spans are inclusive, in characters or, where those are missing, in its own tokens [text, offset].

    Where a place holds another text than the answer's own (but for case and white space), the answer's own is given,
    so that the difference comes out where features are built. The Hub's export has columns in place of lists.
    """
    if isinstance(detected, dict):
        detected = [dict(zip(detected, values, strict=True)) for values in zip(*detected.values(), strict=True)]
    if isinstance(tokens, dict):
        tokens = list(zip(tokens["tokens"], tokens["offsets"], strict=True))
    for answer in detected:
        char_spans = answer.get("char_spans")
        if char_spans is None and tokens is not None:
            char_spans = [
                (tokens[first][1], tokens[last][1] + len(tokens[last][0]) - 1)
                for first, last in _pairs(answer.get("token_spans") or [])
            ]
        for first, last in _pairs(char_spans or []):
            found = context[int(first) : int(last) + 1]
            told = str(answer.get("text", found))
            yield int(first), found if _squeezed(found) == _squeezed(told) else told


def _pairs(spans: Any) -> list[tuple[Any, Any]]:
    columns = (spans["start"], spans["end"]) if isinstance(spans, dict) else zip(*spans, strict=True)
    return list(zip(*columns, strict=True))


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _is_html(question: dict[str, Any], row: _Row, context: str) -> bool:
    answer = question.get("answer")
    told_in_html = isinstance(answer, dict) and any(key.startswith("html_answer") for key in answer)
    return row.html or told_in_html or HTML_PAGE.match(context) is not None


def _without_html(example: QAExample) -> QAExample:
    """The question on the text of its page, answers at the place where their HTML went.

    An answer whose place in the page holds something else keeps its text, so that features find the difference.
    """
    page = html_text(example.context)
    spans, moved = [], {}
    for start, text in example.spans:
        first, last = page.span(start, start + len(text))
        same = example.context[start : start + len(text)] == text
        moved[text] = page.text[first:last] if same else html_text(text).text.strip()
        spans.append((first, moved[text]))
    golds = tuple(moved.get(gold) or html_text(gold).text.strip() for gold in example.golds)
    if not all(golds):
        raise RowError("answer: found nothing but markup, expected text")
    return replace(example, context=page.text, spans=tuple(span for span in spans if span[1]), golds=golds)


def _without_lone_surrogates(example: QAExample) -> QAExample:
    mend = without_lone_surrogates
    return replace(
        example,
        question=mend(example.question),
        context=mend(example.context),
        spans=tuple((start, mend(text)) for start, text in example.spans),
        golds=tuple(mend(gold) for gold in example.golds),
        article=mend(example.article),
    )


def _text(value: Any, what: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)  # an answer that is a number: 1998
    return _expect(value, str, what)


def _expect(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise RowError(f"{what}: found {_kind(value)}, expected {_kind(kind())}")
    return value


def _kind(value: Any) -> str:
    name = type(value).__name__
    return JSON_NAMES.get(name, name)
