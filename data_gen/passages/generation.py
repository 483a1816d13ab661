"""Documents to encoded records: tokenised once, packed, masked anew for every duplicate, counted and spilled."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_gen.passages.masking import (
    MaskingConfig,
    MaskingRules,
    fill_row,
    mask_for_language_modelling,
    mask_recurring_spans,
    masking_rules,
    unmasked_passage,
)
from data_gen.passages.packing import (
    MIN_SEGMENTS_TO_MOVE_BORDERS,
    PACKINGS,
    SPECIAL_TOKENS_PER_RECORD,
    Chunk,
    disjoint_chunks,
    reference_chunks,
)
from data_gen.passages.random_numbers import next_uint64, seed_generator
from data_gen.passages.segments import Segments, tokenized_segments
from data_gen.passages.tokenization import TextTokenizer, Vocabulary
from data_gen.spans.clusters import SpanTables, find_clusters
from data_gen.storage.ngrams import NgramCounts, clear_ngrams, count_ngram, is_filled, ngram_counts, spill_ngrams
from data_gen.storage.spills import NUM_GROUPS, Spill, key_range, write_spill
from kosplinter_common.cli import InputError
from kosplinter_common.compilation import numba
from kosplinter_common.records.examples import ExampleEncoder, encode_row

_NGRAM_SLOTS = 1 << 18  # of the table of a worker: 12 MB at 10 tokens an n-gram
_MIN_BYTES_PER_TOKEN = 2  # of a record: one for its id, one for its mask


@dataclass(frozen=True)
class GenerationConfig:
    """What a document's records depend on, besides the vocabulary and the span tables."""

    masking: MaskingConfig
    packing: str = "disjoint"  # a name of PACKINGS
    dupe_factor: int = 5
    random_seed: int = 12345
    buffer_bytes: int = 64 << 20  # records that are held before they are spilled

    def __post_init__(self) -> None:
        if self.dupe_factor < 1:
            raise InputError(f"dupe_factor: found {self.dupe_factor}, expected 1 or more")
        if self.packing not in PACKINGS:
            raise InputError(f"packing: found {self.packing!r}, expected one of {', '.join(PACKINGS)}")


class RecordBuffer(NamedTuple):
    """Encoded records: record i has keys[i] and ends at ends[i] in `data`; used: [records, bytes]."""

    data: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64]
    ends: npt.NDArray[np.uint64]
    used: npt.NDArray[np.int64]


class _Encoding(NamedTuple):
    names: npt.NDArray[np.uint8]
    name_ends: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    is_float: npt.NDArray[np.bool_]
    max_bytes: int


_RECORDS, _TOKENS, _QUESTIONS, _PREDICTIONS, _WITHOUT_LABELS, _DROPPED, _CLUSTERS = range(7)
# records_without_labels are written, records_dropped are not: where only questions are learnt, those without one.
COUNTS = (
    "records",
    "tokens",
    "questions",
    "predictions",
    "records_without_labels",
    "records_dropped",
    "masked_clusters",
)


@numba.njit(cache=True)
def _generate(
    ids: npt.NDArray[np.int32],
    chunks: npt.NDArray[np.int64],
    first_chunk: int,
    place: npt.NDArray[np.int64],
    rules: MaskingRules,
    tables: SpanTables,
    encoding: _Encoding,
    buffer: RecordBuffer,
    ngrams: NgramCounts,
    counts: npt.NDArray[np.int64],
    is_used: npt.NDArray[np.bool_],
) -> int:
    """Appends the records of chunks[first_chunk:] to the buffer; returns how many chunks are done.

    Stops early where the buffer or the table of n-grams is full. Chunks are rows of (start, end, duplicate, number
    within the duplicate); those of one (start, end) stand together, and their clusters are found once. `is_used` tells
    the tokens that went into a record.
    """
    generator = np.empty(1, np.uint64)
    seed = np.empty(len(place) + 2, np.int64)
    seed[: len(place)] = place
    row = np.empty(encoding.lengths.sum(), np.int64)
    passage_ids = np.empty(0, np.int32)
    clusters = find_clusters(passage_ids, tables, rules.boundary, rules.max_span_length)
    for c in range(first_chunk, len(chunks)):
        if buffer.used[1] + encoding.max_bytes > len(buffer.data) or is_filled(ngrams):
            return c
        start, end = chunks[c, 0], chunks[c, 1]
        if c == first_chunk or start != chunks[c - 1, 0] or end != chunks[c - 1, 1]:
            passage_ids = np.empty(end - start + 2, np.int32)
            passage_ids[0] = rules.cls_id
            passage_ids[1:-1] = ids[start:end]
            passage_ids[-1] = rules.sep_id
            if rules.max_questions:
                clusters = find_clusters(passage_ids, tables, rules.boundary, rules.max_span_length)
        seed[-2:] = chunks[c, 2:]
        seed_generator(generator, seed)
        key = next_uint64(generator)

        passage = unmasked_passage(passage_ids)
        questions = 0
        if rules.max_questions:
            is_masked = np.zeros(len(clusters.lengths), np.bool_)
            questions = mask_recurring_spans(passage, clusters, rules, generator, is_masked)
            for cluster in np.flatnonzero(is_masked):
                first = clusters.starts[clusters.ends[cluster - 1] if cluster else 0]
                count_ngram(ngrams, passage_ids[first : first + clusters.lengths[cluster]])
            counts[_CLUSTERS] += is_masked.sum()
        predictions = 0
        if rules.max_predictions:
            predictions = mask_for_language_modelling(passage, rules, generator, questions)
        elif not questions:
            counts[_DROPPED] += 1
            continue
        fill_row(passage, rules, row)

        record = buffer.used[0]
        buffer.used[1] = encode_row(
            buffer.data,
            buffer.used[1],
            row,
            encoding.names,
            encoding.name_ends,
            encoding.lengths,
            encoding.is_float,
        )
        buffer.keys[record] = key
        buffer.ends[record] = buffer.used[1]
        buffer.used[0] += 1
        counts[_RECORDS] += 1
        counts[_TOKENS] += len(passage_ids)
        counts[_QUESTIONS] += questions
        counts[_PREDICTIONS] += predictions
        counts[_WITHOUT_LABELS] += questions + predictions == 0
        is_used[start:end] = True
    return len(chunks)


class RecordGenerator:
    """Makes the records of documents and spills them into files that begin with `spill_prefix`.

    Counts and the numbers of files grow as documents come; `finish` spills what is left. Beside COUNTS, text_tokens are
    those of the documents; used are those that stand in a record of at least one duplicate; the rest is never used.
    """

    def __init__(self, vocabulary: Vocabulary, tokenizer: TextTokenizer, tables: SpanTables, config: GenerationConfig):
        self._tokenizer = tokenizer
        self._tables = tables
        self._config = config
        self._rules = masking_rules(config.masking, vocabulary)
        self._max_tokens = config.masking.max_seq_length - SPECIAL_TOKENS_PER_RECORD
        encoder = ExampleEncoder(config.masking.record_spec)
        self._encoding = _Encoding(
            encoder.names, encoder.name_ends, encoder.lengths, encoder.is_float, encoder.max_bytes
        )
        size = max(config.buffer_bytes, encoder.max_bytes)
        capacity = size // (_MIN_BYTES_PER_TOKEN * config.masking.max_seq_length) + 1
        self._buffer = RecordBuffer(
            data=np.empty(size, np.uint8),
            keys=np.empty(capacity, np.uint64),
            ends=np.empty(capacity, np.uint64),
            used=np.zeros(2, np.int64),
        )
        self._ngrams = ngram_counts(_NGRAM_SLOTS, config.masking.max_span_length)
        self.start(Path())

    def warm_up(self) -> None:
        """Loads or compiles everything, so that processes forked from this one need not."""
        self.add_document(["."], 0, 0)

    def start(self, spill_prefix: Path) -> None:
        """Begins a new set of spills, with nothing held or counted."""
        self._spill_prefix = spill_prefix
        self._buffer.used[:] = 0
        clear_ngrams(self._ngrams)
        self._counts = np.zeros(len(COUNTS), np.int64)
        self._text: Counter[str] = Counter()
        self._tokenizer.characters_replaced = 0
        self.record_spills: list[Spill] = []
        self.ngram_spills: list[Spill] = []
        self._num_spilled = 0

    @property
    def counts(self) -> dict[str, int]:
        replaced = {"characters_replaced": self._tokenizer.characters_replaced}
        return dict(zip(COUNTS, self._counts.tolist(), strict=True)) | self._text | replaced

    def add_document(self, segments: Sequence[str], unit: int, document: int) -> bool:
        """Makes the records of one document, number `document` of unit `unit`; False if it has no tokens."""
        document_tokens = tokenized_segments(segments, self._tokenizer, self._max_tokens, self._rules.is_continuation)
        ids = document_tokens.ids
        if not len(ids):
            return False
        chunks = np.array(sorted(self._chunks(document_tokens)), np.int64)
        place = np.array([self._config.random_seed, unit, document], np.int64)
        is_used = np.zeros(len(ids), np.bool_)
        done = 0
        while True:
            done = _generate(
                ids,
                chunks,
                done,
                place,
                self._rules,
                self._tables,
                self._encoding,
                self._buffer,
                self._ngrams,
                self._counts,
                is_used,
            )
            if done == len(chunks):
                break
            self._spill()
        used = int(np.count_nonzero(is_used))
        self._text.update(text_tokens=len(ids), text_tokens_used=used, text_tokens_never_used=len(ids) - used)
        return True

    def _chunks(self, document: Segments) -> Iterator[tuple[int, int, int, int]]:
        """(start, end, duplicate, number within it) of every chunk; counts what each packing would have given."""
        packed: dict[str, list[Chunk]] = {}
        for duplicate in range(self._config.dupe_factor):
            if not duplicate or len(document.part_ends) >= MIN_SEGMENTS_TO_MOVE_BORDERS:
                packed = {
                    "disjoint": disjoint_chunks(document.part_ends, self._max_tokens, duplicate, document.cuts),
                    "reference": reference_chunks(document.segment_ends, self._max_tokens, duplicate),
                }
            for name, chunks in packed.items():
                self._text[f"records_if_packing_{name}"] += len(chunks)
            for number, chunk in enumerate(packed[self._config.packing]):
                yield chunk.start, chunk.end, duplicate, number

    def finish(self) -> None:
        """Spills what is held, and forgets it."""
        if self._buffer.used[0]:
            self._spill_records()
        if self._ngrams.used[0]:
            self._spill_ngrams()

    def _spill(self) -> None:
        if is_filled(self._ngrams):
            self._spill_ngrams()
        else:
            self._spill_records()

    def _spill_records(self) -> None:
        count, size = self._buffer.used.tolist()
        keys, ends = self._buffer.keys[:count], self._buffer.ends[:count]
        order = np.argsort(keys, kind="stable")
        data, sorted_ends = _gathered(self._buffer.data[:size], ends, order)
        keys = keys[order]
        first, start = 0, 0
        for group in range(NUM_GROUPS):
            high = key_range(group, NUM_GROUPS).high
            last = int(np.searchsorted(keys, np.uint64(high - 1), side="right"))
            if first < last:
                end = int(sorted_ends[last - 1])
                path = Path(f"{self._spill_prefix}-{self._num_spilled:05d}-{group}.records")
                group_ends = sorted_ends[first:last] - np.uint64(start)
                self.record_spills.append(write_spill(path, keys[first:last], group_ends, data[start:end].data, group))
                first, start = last, end
        self._num_spilled += 1
        self._buffer.used[:] = 0

    def _spill_ngrams(self) -> None:
        path = Path(f"{self._spill_prefix}-{len(self.ngram_spills):05d}.ngrams")
        self.ngram_spills.append(spill_ngrams(self._ngrams, path))
        clear_ngrams(self._ngrams)


@numba.njit(cache=True)
def _gathered(
    data: npt.NDArray[np.uint8], ends: npt.NDArray[np.uint64], order: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """The records of `data`, one after the other in another order, and where each ends."""
    gathered = np.empty(len(data), np.uint8)
    new_ends = np.empty(len(ends), np.uint64)
    position = 0
    for i in range(len(order)):
        record = order[i]
        start = int(ends[record - 1]) if record else 0
        end = int(ends[record])
        gathered[position : position + end - start] = data[start:end]
        position += end - start
        new_ends[i] = position
    return gathered, new_ends
