"""A whole run on one machine: units of input to spills, spills to shuffled shards, and what is said about them.

First every task's records go into spills, in the order of random 64-bit keys. Then each shard gathers its range of
keys from all spills. So the shards are a shuffle of the whole corpus, their bytes do not depend on the number of
processes, and no step holds more than a buffer. A journal notes each finished job.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from data_gen.passages.generation import GenerationConfig
from data_gen.passages.tokenization import Vocabulary
from data_gen.runs.config import RunConfig
from data_gen.runs.jobs import NgramJob, ShardJob, TaskWorker, gather
from data_gen.runs.journal import Journal
from data_gen.runs.progress import Progress
from data_gen.runs.tasks import Task, plan_tasks
from data_gen.runs.workers import Perform, run_jobs
from data_gen.spans.exclusion import load_excluded
from data_gen.storage.ngrams import NGRAMS_FILE, write_ngrams
from kosplinter_common.cli import InputError
from kosplinter_common.files import file_sha256
from kosplinter_common.records.dataset_info import DATASET_FILE, DatasetInfo, ShardInfo, VocabInfo

logger = logging.getLogger(__name__)

WORK_FOLDER = "work"
_MIN_SHARDS, _MAX_SHARDS, _INPUT_BYTES_PER_SHARD = 8, 1024, 64 << 20


@dataclass(frozen=True, kw_only=True)
class PipelineConfig(RunConfig):
    """A run on this machine. `configuration` is what may not change when it goes on."""

    output_dir: Path
    vocab_file: Path
    num_processes: int = 1
    configuration: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_processes < 1:
            raise InputError(f"num_processes: found {self.num_processes}, expected 1 or more")


def run(config: PipelineConfig) -> DatasetInfo:
    """Writes shards, ngrams.txt and dataset.json into `config.output_dir`, or goes on where a killed run stopped.

    Raises:
      InputError: something in the input or the configuration is wrong.
      OSError: the machine refused something, or a worker died; the same command goes on.
    """
    vocabulary = Vocabulary.load(config.vocab_file)
    tasks = plan_tasks(config.input_files, config.corpus_format, config.unit_bytes)
    journal = Journal(config.output_dir, config.configuration)
    try:
        _refuse_changed_input(tasks, journal)
        if (config.output_dir / DATASET_FILE).exists():
            logger.info("%s is complete already", config.output_dir)
        else:
            _Run(config, vocabulary, tasks, journal).run()
        shutil.rmtree(config.output_dir / WORK_FOLDER, ignore_errors=True)
        return DatasetInfo.load(config.output_dir)
    finally:
        journal.close()


def num_shards_for(input_bytes: int) -> int:
    """The number of shards where no flag says it."""
    return min(_MAX_SHARDS, max(_MIN_SHARDS, input_bytes // _INPUT_BYTES_PER_SHARD))


def shard_name(number: int, num_shards: int) -> str:
    return f"pretraining-{number:05d}-of-{num_shards:05d}.tfrecord"


def dataset_info(
    generation: GenerationConfig,
    vocabulary: Vocabulary,
    flags: dict[str, Any],
    counts: Counter[str],
    skipped: Counter[str],
    shards: Sequence[ShardInfo],
) -> DatasetInfo:
    """What dataset.json says of a finished run; `counts` are the sums over all tasks."""
    masking = generation.masking
    padding_rate = 1 - counts["tokens"] / (counts["records"] * masking.max_seq_length)
    return DatasetInfo(
        flags=flags,
        max_seq_length=masking.max_seq_length,
        max_questions_per_seq=masking.max_questions_per_seq,
        max_predictions_per_seq=masking.max_predictions_per_seq,
        vocab=VocabInfo(Path(vocabulary.path).name, len(vocabulary.tokens), file_sha256(vocabulary.path)),
        counts=dict(counts) | {"padding_rate": padding_rate},
        skipped=dict(skipped),
        shards=tuple(shards),
    )


def _refuse_changed_input(tasks: Sequence[Task], journal: Journal) -> None:
    for number, task in enumerate(tasks):
        result = journal.result(f"task {number}")
        if result and result["input"] != task.fingerprint:
            raise InputError(
                f"--input_file: {task.name}: found other content or other sizes than when its records were made; "
                "expected the same input, or another --output_dir"
            )


class _Corpus(NamedTuple):
    """What all tasks gave together."""

    counts: Counter[str]
    skipped: Counter[str]
    record_spills: list[Path]
    ngram_spills: list[Path]


class _Run:
    def __init__(self, config: PipelineConfig, vocabulary: Vocabulary, tasks: list[Task], journal: Journal):
        self._config = config
        self._vocabulary = vocabulary
        self._tasks = tasks
        self._journal = journal
        self._work = config.output_dir / WORK_FOLDER
        self._input_bytes = sum(task.num_bytes for task in tasks)
        self._num_shards = config.num_shards or num_shards_for(self._input_bytes)

    def run(self) -> None:
        self._work.mkdir(exist_ok=True)
        for folder in (self._config.output_dir, self._work):
            for leftover in folder.glob(".*.partial"):  # of a run that was killed
                leftover.unlink()
        corpus = self._generate()
        if not corpus.counts["records"]:
            self._give_up(corpus)
        shards, merged_ngrams = self._gather(corpus)
        max_span_length = self._config.generation.masking.max_span_length
        write_ngrams(merged_ngrams, max_span_length, self._vocabulary.tokens, self._config.output_dir / NGRAMS_FILE)
        dataset_info(
            self._config.generation, self._vocabulary, self._config.flags, corpus.counts, corpus.skipped, shards
        ).save(self._config.output_dir)
        self._progress.show(final=True)

    def _generate(self) -> _Corpus:
        excluded = load_excluded(self._config.exclude_ngrams, self._work / "excluded-ngrams")
        generator = self._config.record_generator(self._vocabulary, excluded)
        logger.info("loading compiled code; the first run on a machine compiles it, which takes about half a minute")
        generator.warm_up()
        self._progress = Progress(self._input_bytes, self._num_shards)
        worker = TaskWorker(generator, self._config.reader_options, self._work)
        results = self._do([f"task {number}" for number in range(len(self._tasks))], self._tasks, worker)
        corpus = _Corpus(Counter(), Counter(), [], [])
        for result in results:
            corpus.counts.update(result["counts"] | {"documents": result["documents"]})
            corpus.skipped.update(result["skipped"])
            corpus.record_spills.extend(self._work / name for name in result["record_spills"])
            corpus.ngram_spills.extend(self._work / name for name in result["ngram_spills"])
        return corpus

    def _gather(self, corpus: _Corpus) -> tuple[list[ShardInfo], list[Path]]:
        """Shards and merged n-grams out of the spills."""
        shard_bytes = sum(path.stat().st_size for path in corpus.record_spills) // self._num_shards
        num_parts = 1 + shard_bytes // self._config.generation.buffer_bytes
        shards = [
            ShardJob(
                self._config.output_dir / shard_name(number, self._num_shards),
                number,
                self._num_shards,
                num_parts,
                corpus.record_spills,
            )
            for number in range(self._num_shards)
        ]
        ngram_bytes = sum(path.stat().st_size for path in corpus.ngram_spills)
        num_merges = 1 + ngram_bytes // self._config.generation.buffer_bytes
        merges = [
            NgramJob(
                self._work / f"merged-{number:05d}",
                number,
                num_merges,
                self._config.generation.masking.max_span_length,
                corpus.ngram_spills,
            )
            for number in range(num_merges)
        ]
        names = [f"shard {number}" for number in range(len(shards))] + [
            f"ngrams {number}" for number in range(num_merges)
        ]
        results = self._do(names, [*shards, *merges], gather)
        return [ShardInfo(**result) for result in results[: len(shards)]], [merge.output for merge in merges]

    def _do(self, names: Sequence[str], jobs: Sequence[Any], perform: Perform) -> list[dict[str, Any]]:
        """The jobs' results; jobs that the journal knows are not done again."""
        for result in filter(None, map(self._journal.result, names)):
            self._progress.add(_work_done(result), by_earlier_run=True)
        missing = [number for number, name in enumerate(names) if self._journal.result(name) is None]
        reported: dict[int, dict[str, int]] = {}
        missing_jobs = [jobs[number] for number in missing]
        for event in run_jobs(missing_jobs, self._config.num_processes, perform, lambda job: job.name):
            done = _work_done(event.values)
            before = reported.get(event.job_number, {})
            self._progress.add({name: value - before.get(name, 0) for name, value in done.items()})
            reported[event.job_number] = done
            if event.is_result:
                self._journal.record(names[missing[event.job_number]], event.values)
            self._progress.show()
        return [self._journal.results[name] for name in names]

    def _give_up(self, corpus: _Corpus) -> None:
        shutil.rmtree(self._work)
        self._journal.discard()
        reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(corpus.skipped.items()))
        raise InputError(
            f"input_file: no text found in {len(self._config.input_files)} files, the first is "
            f"{self._config.input_files[0]}; skipped: {reasons or 'nothing'}; expected at least one document"
        )


def _work_done(values: dict[str, Any]) -> dict[str, int]:
    """What a job's report or result means for the progress line."""
    if "documents" not in values:
        return {"shards": int("sha256" in values)}
    return {"bytes": values["bytes"], "documents": values["documents"], "tokens": values["counts"]["tokens"]}
