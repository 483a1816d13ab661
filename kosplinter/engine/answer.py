"""An answer, and the sentence it stands in."""

import re
from dataclasses import dataclass

# A sentence ends behind its mark (and what closes a quotation) where white space follows, or at the end of a line.
SENTENCE_END = re.compile(r"(?<=[.!?。…])[\"'”’)\]」』]*\s+|\n+")


@dataclass(frozen=True)
class Answer:
    """`text` is characters [start, end) of document number `document`, in `sentence`.

    score: start logit plus end logit; comparable within one question only. probability: of this span among all spans
    of all the question's documents, at the model's temperature if it was calibrated.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float
    sentence: str
    document: int


def sentence_around(text: str, start: int, end: int) -> str:
    """The sentence, or the sentences, that characters [start, end) of `text` stand in."""
    first, last = 0, len(text)
    for boundary in SENTENCE_END.finditer(text):
        if boundary.end() <= start:
            first = boundary.end()
        elif boundary.start() >= end:
            last = boundary.end()  # what closes a quotation belongs to it, white space is stripped
            break
    return text[first:last].strip()
