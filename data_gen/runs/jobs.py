"""What a worker process does: a task's documents to spills, and a range of keys to a shard or to merged n-grams."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_gen.corpora.reading import Document, FileLog, ReaderOptions, read_unit
from data_gen.passages.generation import RecordGenerator
from data_gen.runs.tasks import Task
from data_gen.runs.workers import Report
from data_gen.storage.ngrams import merge_ngrams
from data_gen.storage.spills import KeyRange, Spill, groups_of, key_range, read_spilled, spill_at
from kosplinter_common.files import atomic_file
from kosplinter_common.records.tfrecords import frame

_REPORT_CHARACTERS = 1 << 17  # between two reports
_BYTES_PER_CHARACTER = 3  # of Hangul in UTF-8: only for reports
_MANY_LINES, _LARGE_SHARE = 20, 0.5  # of a document that may be many: comments, chats


@dataclass(frozen=True)
class TaskWorker:
    """Reads a task's units and spills their records and n-grams into `folder`.

    Called, it gives the counts, what was skipped, the spills, and the documents that look like many (LargeDocument).
    """

    generator: RecordGenerator
    reader_options: ReaderOptions
    folder: Path

    def __call__(self, task: Task, report: Report) -> dict[str, Any]:
        skipped: Counter[str] = Counter()
        files = FileLog()
        documents, characters, reported = 0, 0, 0
        self.generator.start(self.folder / f"{task.first_unit:07d}")
        large: list[LargeDocument] = []
        for index, unit in enumerate(task.units):
            largest = _LargestDocument()
            for number, document in enumerate(read_unit(unit, self.reader_options, skipped, files)):
                if self.generator.add_document(document.segments, task.first_unit + index, number):
                    documents += 1
                else:
                    skipped["document without tokens"] += 1
                characters += largest.add(document)
                if characters - reported >= _REPORT_CHARACTERS:
                    reported = characters
                    progress = min(task.num_bytes, characters * _BYTES_PER_CHARACTER)
                    report({"bytes": progress, "documents": documents, "counts": self.generator.counts})
            large += largest.found(unit.name)
        self.generator.finish()
        return {
            "input": task.fingerprint,
            "paths": sorted({unit.path for unit in task.units}),
            "bytes": task.num_bytes,
            "documents": documents,
            "counts": self.generator.counts,
            "skipped": dict(sorted(skipped.items())),
            "files": files.as_dict(),
            "record_spills": self.generator.record_spills,
            "ngram_spills": self.generator.ngram_spills,
            "large_documents": large,
        }


class LargeDocument(NamedTuple):
    """A document of many lines that only a blank line would have ended, and its share of its unit's characters."""

    unit: str
    lines: int
    share: float


class _LargestDocument:
    """Looks for the largest document of a unit, put together again where the reader has cut it."""

    def __init__(self) -> None:
        self._all_characters = self._characters = self._lines = 0
        self._largest = (0, 0)  # characters, lines

    def add(self, document: Document) -> int:
        """Returns the document's characters."""
        characters = sum(map(len, document.segments))
        self._all_characters += characters
        if not document.continues_last:
            self._characters = self._lines = 0
        if document.ends_at_blank_line:
            self._characters += characters
            self._lines += len(document.segments)
            self._largest = max(self._largest, (self._characters, self._lines))
        return characters

    def found(self, unit: str) -> list[LargeDocument]:
        characters, lines = self._largest
        is_large = lines >= _MANY_LINES and characters > _LARGE_SHARE * self._all_characters
        return [LargeDocument(unit, lines, characters / self._all_characters)] if is_large else []


@dataclass(frozen=True)
class ShardJob:
    """One shard: the records of one range of keys, gathered in `num_parts` parts that fit into memory."""

    output: Path
    number: int
    num_shards: int
    num_parts: int
    folder: Path
    spills: Sequence[Spill]

    @property
    def name(self) -> str:
        return str(self.output)

    @property
    def groups(self) -> range:
        """The groups of keys that it gathers from."""
        return groups_of(key_range(self.number, self.num_shards))

    def __call__(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        records, size = 0, 0
        spills = [self.folder / spill.name for spill in self.spills if spill.group in self.groups]
        with atomic_file(self.output, durable=True) as partial, open(partial, "wb") as file:
            for part in range(self.num_parts):
                wanted = key_range(self.number * self.num_parts + part, self.num_shards * self.num_parts)
                for payload in shuffled_payloads(spills, wanted):
                    framed = frame(payload)
                    digest.update(framed)
                    file.write(framed)
                    records += 1
                    size += len(framed)
        return {"name": self.output.name, "records": records, "bytes": size, "sha256": digest.hexdigest()}


def shuffled_payloads(spills: Sequence[Path], wanted: KeyRange) -> Iterator[bytes]:
    """Records whose keys are in a range, in the order of their keys."""
    parts = list(read_spilled(spills, wanted))
    if not parts:
        return
    order = np.argsort(np.concatenate([keys for keys, _, _ in parts]), kind="stable")
    sizes = [len(keys) for keys, _, _ in parts]
    sources = np.repeat(np.arange(len(parts)), sizes)[order].tolist()
    ends = np.concatenate([ends for _, ends, _ in parts])[order].tolist()
    starts = np.concatenate([np.concatenate([[0], ends[:-1]]) for _, ends, _ in parts])[order].tolist()
    for source, start, end in zip(sources, starts, ends, strict=True):
        yield parts[source][2][start:end]


@dataclass(frozen=True)
class NgramJob:
    """One range of n-grams, their counts summed over all spills."""

    output: Path
    number: int
    num_jobs: int
    max_span_length: int
    spills: Sequence[Path]

    @property
    def name(self) -> str:
        return str(self.output)

    def __call__(self) -> dict[str, Any]:
        wanted = key_range(self.number, self.num_jobs)
        ngrams = merge_ngrams(self.spills, wanted, self.max_span_length, self.output)
        return {"ngrams": ngrams, "merged": spill_at(self.output)}


def gather(job: ShardJob | NgramJob, report: Report) -> dict[str, Any]:
    """Does a job that gathers from spills; it is too short to report on the way."""
    return job()
