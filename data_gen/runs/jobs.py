"""What a worker process does: a task's documents to spills, and a range of keys to a shard or to merged n-grams."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.corpora.reading import ReaderOptions, read_unit
from data_gen.passages.generation import RecordGenerator
from data_gen.runs.tasks import Task
from data_gen.runs.workers import Report
from data_gen.storage.ngrams import merge_ngrams
from data_gen.storage.spills import KeyRange, key_range, read_spilled
from kosplinter_common.files import atomic_file
from kosplinter_common.records.tfrecords import frame

_REPORT_CHARACTERS = 1 << 17  # between two reports
_BYTES_PER_CHARACTER = 3  # of Hangul in UTF-8: only for reports


@dataclass(frozen=True)
class TaskWorker:
    """Reads a task's units and spills their records and n-grams into `folder`."""

    generator: RecordGenerator
    reader_options: ReaderOptions
    folder: Path

    def __call__(self, task: Task, report: Report) -> dict[str, Any]:
        skipped: Counter[str] = Counter()
        documents, characters, reported = 0, 0, 0
        self.generator.start(self.folder / f"{task.first_unit:07d}")
        for index, unit in enumerate(task.units):
            for number, document in enumerate(read_unit(unit, self.reader_options, skipped)):
                if self.generator.add_document(document.segments, task.first_unit + index, number):
                    documents += 1
                else:
                    skipped["document without tokens"] += 1
                characters += sum(map(len, document.segments))
                if characters - reported >= _REPORT_CHARACTERS:
                    reported = characters
                    progress = min(task.num_bytes, characters * _BYTES_PER_CHARACTER)
                    report({"bytes": progress, "documents": documents, "counts": self.generator.counts})
        self.generator.finish()
        return {
            "input": task.fingerprint,
            "bytes": task.num_bytes,
            "documents": documents,
            "counts": self.generator.counts,
            "skipped": dict(sorted(skipped.items())),
            "record_spills": self.generator.record_spills,
            "ngram_spills": self.generator.ngram_spills,
        }


@dataclass(frozen=True)
class ShardJob:
    """One shard: the records of one range of keys, gathered in `num_parts` parts that fit into memory."""

    output: Path
    number: int
    num_shards: int
    num_parts: int
    spills: Sequence[Path]

    @property
    def name(self) -> str:
        return str(self.output)

    def __call__(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        records, size = 0, 0
        with atomic_file(self.output) as partial, open(partial, "wb") as file:
            for part in range(self.num_parts):
                wanted = key_range(self.number * self.num_parts + part, self.num_shards * self.num_parts)
                for payload in shuffled_payloads(self.spills, wanted):
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
        return {"ngrams": merge_ngrams(self.spills, wanted, self.max_span_length, self.output)}


def gather(job: ShardJob | NgramJob, report: Report) -> dict[str, Any]:
    """Does a job that gathers from spills; it is too short to report on the way."""
    return job()
