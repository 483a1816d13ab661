"""What is asked, checked: each error names the field that is wrong."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetuning.qa.questions import PREPARED_SUFFIX
from kosplinter_common.cli import InputError

MAX_TOP_K = 1000
UNFIT = re.compile("[\ud800-\udfff\0]")


@dataclass(frozen=True)
class Request:
    """A question, and the documents that may answer it."""

    question: str
    documents: tuple[str, ...]


def checked_request(question: Any, documents: Any, place: str = "") -> Request:
    """The request, if both fields can be used; `place` stands before the name of a field that cannot.

    A text in place of a list of documents is the only document. `[QUESTION] .` behind a question, as the data of
    Splinter have it, is dropped.

    Raises:
      InputError: a field is no text, is blank, or holds a lone surrogate or NUL; there is no document.
    """
    asked = PREPARED_SUFFIX.sub("", _checked_text(question, f"{place}question")).strip()
    if not asked:
        raise InputError(f"{place}question: found nothing but [QUESTION], expected text")
    if isinstance(documents, str):
        return Request(asked, (_checked_text(documents, f"{place}document"),))
    if not isinstance(documents, Sequence) or isinstance(documents, bytes | bytearray):
        raise InputError(f"{place}documents: found {_kind(documents)}, expected a text or a list of texts")
    if not documents:
        raise InputError(f"{place}documents: found an empty list, expected at least one text")
    texts = (_checked_text(document, f"{place}documents[{i}]") for i, document in enumerate(documents))
    return Request(asked, tuple(texts))


def _checked_text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{field}: found {_kind(value)}, expected text")
    if not value.strip():
        raise InputError(f"{field}: found {'nothing but white space' if value else 'an empty text'}, expected text")
    unfit = UNFIT.search(value)
    if unfit:
        found = "NUL" if unfit[0] == "\0" else f"half a surrogate pair (U+{ord(unfit[0]):04X})"
        raise InputError(f"{field}: found {found} at character {unfit.start()}, expected text that UTF-8 can hold")
    return value


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__}"


def checked_number(value: Any, field: str, low: float, high: float, whole: bool = False) -> None:
    """Raises InputError unless `value` is a number from `low` to `high`."""
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        expected = f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
        raise InputError(f"{field}: found {value!r}, expected {expected}")


def check_limits(top_k: Any, min_probability: Any) -> None:
    """Raises InputError unless the number of answers and their least probability can be used."""
    checked_number(top_k, "top_k", 1, MAX_TOP_K, whole=True)
    if min_probability is not None:
        checked_number(min_probability, "min_probability", 0, 1)
