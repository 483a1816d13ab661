"""A question on a context, what may be wrong with one, and texts that every tokenizer and file can take."""

import re
from dataclasses import dataclass

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"
# Faults that were mended: their questions are used. After every other fault a question is left out.
MENDED = ("lone_surrogate", "answer_start_unreadable", "blank_answer", "id_of_another_file")


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


def without_lone_surrogates(text: str) -> str:
    """Each half of a broken surrogate pair becomes one U+FFFD: no tokenizer takes it, and offsets stay what they were.

    JSON may escape a half alone; Python keeps it as a character that no UTF-8 file can hold.
    """
    return LONE_SURROGATE.sub(REPLACEMENT, text)
