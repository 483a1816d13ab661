"""A document's tokens, where its segments end, and where records may be cut: between sentences, or between words."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_gen.passages.tokenization import TextTokenizer

# A full stop behind a digit counts or dates ("1988. 3. 1."): it ends no sentence.
_SENTENCE_END = re.compile(r"(?:(?<![0-9])\.|[!?…])[\"'”’」』》〉)\]]* |[。！？][\"'”’」』》〉)\]]* ?")
_WITHIN_A_WORD, _BETWEEN_WORDS, _BEST = 0, 1, 2


class Segments(NamedTuple):
    """ids: [tokens]. segment_ends: where each segment ends, none empty.

    part_ends: the same, but a segment longer than a record counts as its sentences.
    cuts: [tokens + 1], how well a record may end before each token: 0 within a word; between words 1 in a segment
    longer than a record, but 2 where a sentence ends, and 2 in other segments.
    """

    ids: npt.NDArray[np.int32]
    segment_ends: npt.NDArray[np.int64]
    part_ends: npt.NDArray[np.int64]
    cuts: npt.NDArray[np.uint8]


def sentences(text: str) -> list[str]:
    """The sentences of a clean text; their tokens, one after the other, are those of the text."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    parts = (text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True))
    return [part for part in parts if part]


def tokenized_segments(
    segments: Sequence[str], tokenizer: TextTokenizer, max_tokens: int, is_continuation: npt.NDArray[np.bool_]
) -> Segments:
    """Tokenises a document; `max_tokens` is what a record holds of it, `is_continuation` tells ## pieces by ids."""
    # a segment has at most as many tokens as characters
    parts = [sentences(segment) if len(segment) > max_tokens else [segment] for segment in segments]
    ids, ends = tokenizer.encode([part for of_segment in parts for part in of_segment])
    num_parts = np.array([len(of_segment) for of_segment in parts], np.int64)
    segment_ends = ends[np.cumsum(num_parts) - 1]
    lengths = np.diff(segment_ends, prepend=0)
    is_long = lengths > max_tokens
    part_ends = np.union1d(segment_ends, ends[np.repeat(is_long, num_parts)])
    cuts = np.full(len(ids) + 1, _BEST, np.uint8)
    cuts[:-1][np.repeat(is_long, lengths)] = _BETWEEN_WORDS
    cuts[:-1][is_continuation[ids]] = _WITHIN_A_WORD
    cuts[part_ends] = _BEST
    return Segments(ids, segment_ends[lengths > 0], part_ends[part_ends > 0], cuts)
