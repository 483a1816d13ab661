"""What a conversion is verified on: records, or text and random pieces with spans masked as in pretraining."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetuning.conversion.vocabulary import CLS, PAD, QUESTION, SEP, SPECIAL_TOKENS, Vocabulary
from kosplinter_common.cli import InputError, expand_globs

IntArray = npt.NDArray[np.int64]

MAX_ROWS = 4
MAX_LENGTH = 512
_TOKENS_PER_QUESTION = 16
_MAX_QUESTIONS = 30  # a sequence, as in the paper
_MAX_SPAN_LENGTH = 5
_SEED = 0


@dataclass(frozen=True)
class Batch:
    """Pretraining examples: input_ids, input_mask [rows, length]; the rest [rows, questions], positions 0 padding.

    origin: what the examples are, for the reader of the report.
    """

    input_ids: IntArray
    input_mask: IntArray
    question_positions: IntArray
    beginnings: IntArray
    endings: IntArray
    origin: str

    @property
    def real_questions(self) -> npt.NDArray[np.bool_]:
        return self.question_positions > 0


def batch_from_records(patterns: str, vocab_size: int, max_length: int) -> Batch:
    """The first records of TFRecord files that data_gen wrote.

    Raises:
      InputError: no such file, no spans in them, or records that the model cannot take.
    """
    from kosplinter_common.records.examples import decode_example
    from kosplinter_common.records.tfrecords import read_payloads  # compiles with numba: only where it is needed

    path = expand_globs(patterns)[0]
    try:
        records = [decode_example(payload) for payload in islice(read_payloads(path), MAX_ROWS)]
    except (IndexError, ValueError) as error:
        raise InputError(f"{path}: not records of this project: {error}") from error
    columns = ("input_ids", "input_mask", "masked_span_positions", "masked_span_beginnings", "masked_span_endings")
    if not records or not all(name in records[0] for name in columns):
        raise InputError(
            f"{path}: found features {sorted(records[0]) if records else 'none'}, expected {', '.join(columns)}"
        )
    ids, mask, positions, beginnings, endings = (np.stack([record[name] for record in records]) for name in columns)
    length, largest = ids.shape[1], int(ids.max())
    if length > max_length or largest >= vocab_size:
        raise InputError(
            f"{path}: found {length} tokens with ids up to {largest}, expected at most {max_length} tokens "
            f"(max_position_embeddings) with ids below {vocab_size} (vocab_size)"
        )
    origin = f"{len(records)} records of {Path(path).name}"
    return Batch(ids, mask, positions, beginnings, endings, origin)


def batch_from_text(path: Path, tokenizer: Any, vocabulary: Vocabulary, max_length: int) -> Batch:
    """Tokens of real text, with every few tokens a span masked.

    Raises:
      InputError: not enough text for one row.
    """
    length = min(max_length, MAX_LENGTH)
    with open(path, encoding="utf-8") as file:
        ids = _tokens(file, tokenizer, MAX_ROWS * (length - 2))
    if len(ids) < min(length - 2, _TOKENS_PER_QUESTION):
        raise InputError(f"{path}: found {len(ids)} tokens, expected at least {_TOKENS_PER_QUESTION}")
    rows = [ids[begin : begin + length - 2] for begin in range(0, len(ids), length - 2)]
    rows = [row for row in rows if len(row) >= min(length - 2, _TOKENS_PER_QUESTION)]
    return _masked_batch(rows, vocabulary, length, origin=f"{len(rows)} sequences of text from {path.name}")


def random_batch(vocabulary: Vocabulary, max_length: int) -> Batch:
    """Random WordPieces, with every few tokens a span masked, and rows of different lengths."""
    random = np.random.default_rng(_SEED)
    length = min(max_length, MAX_LENGTH)
    special = {vocabulary.tokens.index(token) for token in SPECIAL_TOKENS if token in vocabulary.tokens}
    plain = np.array([number for number in range(len(vocabulary)) if number not in special] or [0])
    rows = [random.choice(plain, size=length - 2 - row * length // 16).tolist() for row in range(MAX_ROWS)]
    return _masked_batch(rows, vocabulary, length, origin=f"{len(rows)} sequences of random WordPieces")


def _tokens(lines: Iterator[str], tokenizer: Any, count: int) -> list[int]:
    ids: list[int] = []
    for line in lines:
        ids += tokenizer(line, add_special_tokens=False, verbose=False).input_ids
        if len(ids) >= count:
            break
    return ids[:count]


def _masked_batch(rows: list[list[int]], vocabulary: Vocabulary, length: int, origin: str) -> Batch:
    """Each row becomes [CLS] tokens [SEP] padding, with spans masked inside: [QUESTION], then hidden [PAD]s."""
    random = np.random.default_rng(_SEED)
    pad, question = vocabulary.id_of(PAD), vocabulary.id_of(QUESTION)
    questions = max(1, min(_MAX_QUESTIONS, length // _TOKENS_PER_QUESTION))
    input_ids = np.full((len(rows), length), pad, np.int64)
    input_mask = np.zeros_like(input_ids)
    positions, beginnings, endings = (np.zeros((len(rows), questions), np.int64) for _ in range(3))
    for row, tokens in enumerate(rows):
        used = len(tokens) + 2
        input_ids[row, :used] = [vocabulary.id_of(CLS), *tokens, vocabulary.id_of(SEP)]
        input_mask[row, :used] = 1
        stride = max(1, len(tokens) // questions)
        for number, start in enumerate(range(1, len(tokens) + 1, stride)[:questions]):
            span = int(random.integers(1, min(_MAX_SPAN_LENGTH, stride, used - 1 - start) + 1))
            input_ids[row, start] = question
            input_ids[row, start + 1 : start + span] = pad
            input_mask[row, start + 1 : start + span] = 0
            positions[row, number] = start
        seen = np.flatnonzero(input_mask[row])
        asked = np.count_nonzero(positions[row])
        answers = np.sort(random.choice(seen, size=(2, asked)), axis=0)
        beginnings[row, :asked], endings[row, :asked] = answers
    return Batch(input_ids, input_mask, positions, beginnings, endings, origin)
