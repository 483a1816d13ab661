"""What the inspection page shows: passages with their questions and answers as text, and counts over many records."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_gen.passages.tokenization import SPECIAL_TOKENS
from data_gen.storage.ngrams import NGRAMS_FILE
from kosplinter_common.cli import InputError
from kosplinter_common.records.dataset_info import DatasetInfo
from kosplinter_common.records.tfrecords import read_records

Record = dict[str, npt.NDArray]

TEXT, SPECIAL, QUESTION, ANSWER, PREDICTION = "text", "special", "question", "answer", "prediction"
PADDING_BINS = 10
_CLOSING, _OPENING = set(".,!?;:%)]}”’」』》〉…·"), set("([{“‘「『《〈·")


class Run(NamedTuple):
    """Neighbouring tokens that are shown as one."""

    kind: str
    text: str
    space_before: bool
    cluster: int | None = None  # of a question or an answer, numbered from 1 in the order of the text
    hidden: str = ""  # of a question: the masked text; of a prediction: the token to predict


class Passage(NamedTuple):
    """One record as text."""

    name: str
    runs: list[Run]
    num_questions: int
    num_tokens: int  # without the padding at the end
    num_padding: int


@dataclass
class Statistics:
    """Counts over records: how many have so many questions, or so many tenths of padding; how long masked spans are."""

    records: int = 0
    questions: Counter[int] = field(default_factory=Counter)
    span_lengths: Counter[int] = field(default_factory=Counter)
    padding: Counter[int] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        spans = _spans(record)
        self.records += 1
        self.questions[len(spans)] += 1
        self.span_lengths.update(ending - beginning + 1 for _, beginning, ending in spans)
        padding = 1 - _used_length(record) / len(record["input_mask"])
        self.padding[min(PADDING_BINS - 1, int(padding * PADDING_BINS))] += 1


def sampled_records(folder: Path, info: DatasetInfo, limit: int) -> Iterator[tuple[str, Record]]:
    """(name, record) of up to about `limit` records, as many of each shard: records are shuffled over the shards.

    Raises:
      InputError: a shard is missing, damaged, or has other features than dataset.json says.
    """
    per_shard = -(-limit // max(1, len(info.shards)))
    for shard in info.shards:
        path = folder / shard.name
        if not path.is_file():
            raise InputError(f"{path}: not found, but dataset.json lists it")
        for number, record in enumerate(islice(read_records(path, info.record_spec), per_shard)):
            yield f"{shard.name} #{number}", record


def frequent_ngrams(folder: Path, count: int) -> list[tuple[str, int]]:
    """The most frequent masked spans as text, with their counts.

    Raises:
      InputError: ngrams.txt is missing, or a line is not an n-gram, a tab and a number.
    """
    path = folder / NGRAMS_FILE
    if not path.is_file():
        raise InputError(f"{path}: not found; create_pretraining_data.py writes it when a run is finished")
    with open(path, encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").rpartition("\t") for line in islice(lines, count)]
    for number, (ngram, _, times) in enumerate(pairs, 1):
        if not ngram or not times.isdigit():
            raise InputError(f"{path}: line {number}: found {ngram + times!r}, expected an n-gram, a tab and a count")
    return [(join_pieces(ngram.split()), int(times)) for ngram, _, times in pairs]


def join_pieces(tokens: list[str]) -> str:
    """Wordpieces as text to read."""
    text = ""
    for previous, token in zip(["", *tokens], tokens, strict=False):
        text += (" " if text and _space_between(previous, token) else "") + token.removeprefix("##")
    return text


def as_passage(name: str, record: Record, tokens: tuple[str, ...]) -> Passage:
    """A record as runs of text.

    Raises:
      InputError: a position lies outside the record, or an id outside the vocabulary.
    """
    ids, used = record["input_ids"], _used_length(record)
    spans = _spans(record)
    if ids.max(initial=0) >= len(tokens) or ids.min(initial=0) < 0:
        raise InputError(f"{name}: input_ids: found {ids.max()}, but the vocabulary has {len(tokens)} tokens")
    if any(not 0 <= beginning <= ending < used or not 0 <= position < used for position, beginning, ending in spans):
        raise InputError(f"{name}: a question or its answer lies outside of the record's {used} tokens")
    pieces = [tokens[number] for number in ids[:used]]
    runs: list[Run] = []
    position = 0
    previous = ""
    for end, kind, cluster, hidden in _marks(record, spans, pieces, tokens):
        run_pieces = pieces[position:end] if kind != QUESTION else pieces[position : position + 1]
        runs.append(Run(kind, join_pieces(run_pieces), _space_between(previous, run_pieces[0]), cluster, hidden))
        previous, position = run_pieces[-1], end
    return Passage(name, runs, len(spans), used, len(ids) - used)


def _marks(
    record: Record, spans: list[tuple[int, int, int]], pieces: list[str], tokens: tuple[str, ...]
) -> Iterator[tuple[int, str, int | None, str]]:
    """(end, kind, cluster, hidden text) of each run of tokens, in the order of the text."""
    starts: dict[int, tuple[int, str, int | None, str]] = {}
    for position, label in _predictions(record):
        starts[position] = (position + 1, PREDICTION, None, tokens[label])
    answers = {span: number for number, span in enumerate(sorted({(first, last) for _, first, last in spans}), 1)}
    for (first, last), number in answers.items():
        starts[first] = (last + 1, ANSWER, number, "")
    for position, first, last in spans:
        end, hidden = position + last - first + 1, join_pieces(pieces[first : last + 1])
        starts[position] = (end, QUESTION, answers[first, last], hidden)
    position = 0
    while position < len(pieces):
        if position in starts:
            mark = starts[position]
        elif pieces[position] in SPECIAL_TOKENS:
            mark = (position + 1, SPECIAL, None, "")
        else:
            end = position + 1
            while end < len(pieces) and end not in starts and pieces[end] not in SPECIAL_TOKENS:
                end += 1
            mark = (end, TEXT, None, "")
        yield mark
        position = mark[0]


def _spans(record: Record) -> list[tuple[int, int, int]]:
    """(position of [QUESTION], first and last token of its answer) of each question."""
    if "masked_span_weights" not in record:
        return []
    real = record["masked_span_weights"] > 0
    names = ("masked_span_positions", "masked_span_beginnings", "masked_span_endings")
    return list(zip(*(record[name][real].tolist() for name in names), strict=True))


def _predictions(record: Record) -> list[tuple[int, int]]:
    """(position, id to predict) of each masked token."""
    if "masked_lm_weights" not in record:
        return []
    real = record["masked_lm_weights"] > 0
    return list(zip(record["masked_lm_positions"][real].tolist(), record["masked_lm_ids"][real].tolist(), strict=True))


def _used_length(record: Record) -> int:
    used = np.flatnonzero(record["input_mask"])
    return int(used[-1]) + 1 if len(used) else 0


def _space_between(previous: str, token: str) -> bool:
    if previous == "," and token[0].isdigit():  # 1,000 is three tokens
        return False
    return bool(previous) and not token.startswith("##") and token not in _CLOSING and previous not in _OPENING
