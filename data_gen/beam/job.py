"""A run on Apache Beam: units of input to records, records by the range of their keys to shards.

It calls the functions of the local run with the same keys and seeds, so the shards and ngrams.txt have the same bytes,
whatever the runner. Beam's own shuffle takes the place of the merged spills, and its retries that of the journal.
"""

import hashlib
import json
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import TaggedOutput

from data_gen.beam.remote_files import fetched, file_size, make_folder, remove, send, whole_file
from data_gen.corpora.reading import FileLog, Unit, plan_units
from data_gen.passages.tokenization import Vocabulary
from data_gen.runs.config import RunConfig
from data_gen.runs.jobs import TaskWorker
from data_gen.runs.pipeline import dataset_info, nothing_made, num_shards_for, shard_name
from data_gen.runs.tasks import Task
from data_gen.spans.exclusion import load_excluded
from data_gen.storage.ngrams import NGRAMS_FILE, write_ngrams
from data_gen.storage.spills import Spill, key_range, read_spilled
from kosplinter_common.cli import InputError
from kosplinter_common.records.dataset_info import DATASET_FILE, DatasetInfo, ShardInfo
from kosplinter_common.records.tfrecords import frame

_KEY_BITS, _COUNT_BYTES = 64, 8
_NGRAMS, _TOTALS = "ngrams", "totals"
_INPUT_ERROR = re.compile(r"InputError: (.*?)(?: \[while running|$)", re.MULTILINE)
_WORK_FOLDER, _SUMMARY_FILE = "work", "summary.json"


@dataclass(frozen=True, kw_only=True)
class BeamConfig(RunConfig):
    """A run on Beam; paths may be remote."""

    output_dir: str
    vocab_file: str


class _MakeRecords(beam.DoFn):
    """(unit number, unit) -> (shard number, (key, record)); to _NGRAMS (n-gram, count), to _TOTALS what was counted."""

    def __init__(self, config: BeamConfig, vocabulary: Vocabulary, num_shards: int):
        self._config, self._vocabulary, self._num_shards = config, vocabulary, num_shards

    def setup(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        excluded_files = [str(fetched(path, folder)) for path in self._config.exclude_ngrams]
        generator = self._config.record_generator(
            self._vocabulary, load_excluded(excluded_files, folder / "excluded-ngrams")
        )
        self._worker = TaskWorker(generator, self._config.reader_options, folder)

    def process(self, numbered: tuple[int, Unit]) -> Iterator[Any]:
        number, unit = numbered
        result = self._worker(Task(number, (unit,), 0), lambda _: None)
        for key, record in _spilled(self._worker.folder, result["record_spills"]):
            yield key * self._num_shards >> _KEY_BITS, (key, record)
        for _, row in _spilled(self._worker.folder, result["ngram_spills"]):
            yield TaggedOutput(_NGRAMS, (row[:-_COUNT_BYTES], int.from_bytes(row[-_COUNT_BYTES:], "little")))
        counts = result["counts"] | {"documents": result["documents"]}
        yield TaggedOutput(_TOTALS, _Totals(Counter(counts), Counter(result["skipped"]), _file_log(result["files"])))

    def teardown(self) -> None:
        self._folder.cleanup()


def _spilled(folder: Path, spills: Iterable[Spill]) -> Iterator[tuple[int, bytes]]:
    """Keys and payloads of spills, which are deleted."""
    for spill in spills:
        for keys, ends, payloads in read_spilled([folder / spill.name], key_range(0, 1)):
            starts = [0, *ends.tolist()]
            for key, start, end in zip(keys.tolist(), starts, starts[1:], strict=False):
                yield key, payloads[start:end]
        (folder / spill.name).unlink()


class _Totals(NamedTuple):
    counts: Counter[str]
    skipped: Counter[str]
    files: FileLog


def _file_log(values: dict[str, Any]) -> FileLog:
    files = FileLog()
    files.update(values)
    return files


def _sum_totals(totals: Iterable[_Totals]) -> _Totals:
    counts, skipped, files = Counter[str](), Counter[str](), FileLog()
    for more in totals:
        counts.update(more.counts)
        skipped.update(more.skipped)
        files.update(more.files.as_dict())
    return _Totals(counts, skipped, files)


def _write_shard(
    grouped: tuple[int, Iterable[tuple[int, bytes] | None]], output_dir: str, num_shards: int
) -> dict[str, Any]:
    """Writes the records of one shard in the order of their keys; the fields of its ShardInfo."""
    number, records = grouped
    name, digest, count, size = shard_name(number, num_shards), hashlib.sha256(), 0, 0
    with whole_file(FileSystems.join(output_dir, name)) as file:
        for _, record in sorted(filter(None, records)):
            framed = frame(record)
            digest.update(framed)
            file.write(framed)
            count, size = count + 1, size + len(framed)
    return {"name": name, "records": count, "bytes": size, "sha256": digest.hexdigest()}


def _write_ngrams(grouped: tuple[int, Iterable[tuple[bytes, int]]], folder: str) -> str:
    """Writes one part of the n-grams in the form and order of data_gen.storage.ngrams.merge_ngrams; its path."""
    number, counted = grouped
    path = FileSystems.join(folder, f"merged-{number:05d}")
    with whole_file(path) as file:
        for ngram, count in sorted(counted, key=lambda pair: (-pair[1], pair[0])):
            file.write(ngram + count.to_bytes(_COUNT_BYTES, "little"))
    return path


def _write_summary(
    _: None,
    totals: _Totals,
    shards: list[dict[str, Any]],
    ngram_parts: list[str],
    path: str,
) -> None:
    """Leaves what the workers know where the launching program finds it."""
    counts, skipped, files = totals
    summary = {
        "counts": counts,
        "skipped": skipped,
        "files": files.as_dict(),
        "shards": shards,
        "ngram_parts": ngram_parts,
    }
    with whole_file(path) as file:
        file.write(json.dumps(summary).encode())


def run(config: BeamConfig, options: PipelineOptions) -> DatasetInfo:
    """Writes shards, ngrams.txt and dataset.json into `config.output_dir`.

    Raises:
      InputError: something in the input or the configuration is wrong, or the folder holds a finished run.
    """
    if FileSystems.exists(FileSystems.join(config.output_dir, DATASET_FILE)):
        raise InputError(f"{config.output_dir}: holds a finished data set; choose another --output_dir")
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Vocabulary.load(fetched(config.vocab_file, Path(folder)))
        by_line = config.reader_options.document_per_line
        units = plan_units(list(config.input_files), config.corpus_format, config.unit_bytes, by_line)
        num_shards = config.num_shards or num_shards_for(sum(map(file_size, config.input_files)))
        work = FileSystems.join(config.output_dir, _WORK_FOLDER)
        for needed in (config.output_dir, work):
            make_folder(needed)
        try:
            with beam.Pipeline(options=options) as pipeline:
                _build(pipeline, config, vocabulary, list(enumerate(units)), num_shards, work)
        except Exception as error:  # runners wrap what a worker raises, each in its own way
            if message := _INPUT_ERROR.search(str(error)):
                raise InputError(message[1]) from error
            raise
        return _finish(config, vocabulary, Path(folder), work)


def _build(
    pipeline: beam.Pipeline,
    config: BeamConfig,
    vocabulary: Vocabulary,
    numbered_units: list[tuple[int, Unit]],
    num_shards: int,
    work: str,
) -> None:
    made = (
        pipeline
        | "units" >> beam.Create(numbered_units)
        | "spread units" >> beam.Reshuffle()
        | "make records" >> beam.ParDo(_MakeRecords(config, vocabulary, num_shards)).with_outputs(main="records")
    )
    every_shard = pipeline | "every shard" >> beam.Create([(number, None) for number in range(num_shards)])
    shards = (
        (made.records, every_shard)
        | beam.Flatten()
        | "group by shard" >> beam.GroupByKey()
        | "write shards" >> beam.Map(_write_shard, config.output_dir, num_shards)
    )
    ngram_parts = (
        made[_NGRAMS]
        | "count n-grams" >> beam.CombinePerKey(sum)  # type: ignore[arg-type]  # any function of an iterable does
        | "part of n-grams" >> beam.Map(lambda pair: (zlib.crc32(pair[0]) % num_shards, pair))
        | "group n-grams" >> beam.GroupByKey()
        | "write n-grams" >> beam.Map(_write_ngrams, work)
    )
    totals = made[_TOTALS] | beam.CombineGlobally(_sum_totals)
    _ = (
        pipeline
        | "once" >> beam.Create([None])
        | "write summary"
        >> beam.Map(
            _write_summary,
            beam.pvalue.AsSingleton(totals),
            beam.pvalue.AsList(shards),
            beam.pvalue.AsList(ngram_parts),
            FileSystems.join(work, _SUMMARY_FILE),
        )
    )


def _finish(config: BeamConfig, vocabulary: Vocabulary, folder: Path, work: str) -> DatasetInfo:
    """ngrams.txt out of its parts, and dataset.json, which is the last file to appear."""
    summary_path = FileSystems.join(work, _SUMMARY_FILE)
    with FileSystems.open(summary_path) as file:
        summary = json.loads(file.read())
    if not summary["counts"]["records"] and summary["counts"]["documents"]:
        raise InputError(nothing_made(summary["counts"]))
    if not summary["counts"]["records"]:
        raise InputError(f"input_file: no text found in {len(config.input_files)} files; skipped: {summary['skipped']}")
    files = _file_log(summary["files"])
    config.refuse_losses(files)
    parts = [fetched(path, folder) for path in sorted(summary["ngram_parts"])]
    write_ngrams(parts, config.generation.masking.max_span_length, vocabulary.tokens, folder / NGRAMS_FILE)
    info = dataset_info(
        config.generation,
        vocabulary,
        config.flags,
        Counter(summary["counts"]),
        Counter(summary["skipped"]),
        files,
        [ShardInfo(**shard) for shard in sorted(summary["shards"], key=lambda shard: shard["name"])],
    )
    info.save(folder)
    for name in (NGRAMS_FILE, DATASET_FILE):
        send(folder / name, FileSystems.join(config.output_dir, name))
    remove([*summary["ngram_parts"], summary_path], work)
    return info
