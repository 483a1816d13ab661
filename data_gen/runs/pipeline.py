"""A whole run on one machine: units of input to spills, spills to shuffled shards, and what is said about them.

First every task's records go into spills, in the order of random 64-bit keys. Then each shard gathers its range of
keys from all spills. So the shards are a shuffle of the whole corpus, their bytes do not depend on the number of
processes, and no step holds more than a buffer. A journal notes each finished job.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from data_gen.corpora.reading import FileLog, name_files
from data_gen.passages.generation import GenerationConfig
from data_gen.passages.tokenization import Vocabulary
from data_gen.runs.config import RunConfig
from data_gen.runs.disk_space import DiskSpace
from data_gen.runs.jobs import LargeDocument, NgramJob, ShardJob, TaskWorker, gather
from data_gen.runs.journal import Journal
from data_gen.runs.kept_work import KeptWork
from data_gen.runs.plan import plan_of_run
from data_gen.runs.progress import Progress
from data_gen.runs.tasks import Task, large_pieces, plan_tasks
from data_gen.runs.workers import Perform, run_jobs
from data_gen.spans.exclusion import load_excluded
from data_gen.storage.ngrams import NGRAMS_FILE, write_ngrams
from data_gen.storage.spills import Spill
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
    by_line = config.reader_options.document_per_line
    tasks = plan_tasks(config.input_files, config.corpus_format, config.unit_bytes, by_line)
    journal = Journal(config.output_dir, config.configuration)
    try:
        num_shards = config.num_shards or num_shards_for(sum(task.num_bytes for task in tasks))
        tasks, num_shards = plan_of_run(config, journal, tasks, num_shards)
        if (config.output_dir / DATASET_FILE).exists():
            logger.info("%s is complete already", config.output_dir)
        else:
            with ExitStack() as at_end:
                _Run(config, vocabulary, tasks, num_shards, journal, at_end).run()
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
    files: FileLog,
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
        files=files.summary(),
    )


def use_of_text(counts: dict[str, Any]) -> str:
    """What became of the text, for a person to read; read = used + never used."""
    return (
        f"text: {counts['text_tokens']:,} tokens read, {counts['text_tokens_used']:,} used, "
        f"{counts['text_tokens_never_used']:,} never used; "
        f"{counts['records_dropped']:,} records without a question dropped"
    )


def nothing_made(counts: dict[str, int]) -> str:
    """What to say of a run over text that gave no record."""
    return (
        f"none of the {counts['records_dropped']:,} records of {counts['documents']:,} documents "
        f"({counts['text_tokens']:,} tokens) has a question: no span recurs in one; expected longer documents, a "
        "greater --max_seq_length, or --only_recurring_span_selection=False"
    )


class _Corpus(NamedTuple):
    """What all tasks gave together."""

    counts: Counter[str]
    skipped: Counter[str]
    files: FileLog
    record_spills: list[Spill]
    ngram_spills: list[Spill]
    large_documents: list[LargeDocument]


class _Run:
    def __init__(
        self,
        config: PipelineConfig,
        vocabulary: Vocabulary,
        tasks: list[Task],
        num_shards: int,
        journal: Journal,
        at_end: ExitStack,
    ):
        self._config = config
        self._vocabulary = vocabulary
        self._tasks = tasks
        self._journal = journal
        self._at_end = at_end
        self._work = config.output_dir / WORK_FOLDER
        self._input_bytes = sum(task.num_bytes for task in tasks)
        self._num_shards = num_shards
        self._kept = KeptWork(config.output_dir, self._work, num_shards, journal)
        self._disk = DiskSpace(config.output_dir, self._input_bytes)

    def run(self) -> None:
        self._work.mkdir(exist_ok=True)
        for folder in (self._config.output_dir, self._work):
            for leftover in folder.glob(".*.partial"):  # of a run that was killed
                leftover.unlink()
        self._kept.forget_damaged()
        undone = [task for number, task in enumerate(self._tasks) if not self._journal.result(f"task {number}")]
        try:
            self._disk.refuse_too_little(undone, self._config.generation.dupe_factor)
        except InputError:
            if len(undone) == len(self._tasks):
                self._leave_nothing()
            raise
        _say_large_pieces(large_pieces(undone, self._config.unit_bytes, self._config.num_processes))
        corpus = self._generate()
        if not corpus.counts["records"]:
            self._give_up(corpus)
        self._config.refuse_losses(corpus.files)
        shards, merged_ngrams = self._gather(corpus)
        max_span_length = self._config.generation.masking.max_span_length
        write_ngrams(merged_ngrams, max_span_length, self._vocabulary.tokens, self._config.output_dir / NGRAMS_FILE)
        dataset_info(
            self._config.generation,
            self._vocabulary,
            self._config.flags,
            corpus.counts,
            corpus.skipped,
            corpus.files,
            shards,
        ).save(self._config.output_dir)
        self._progress.show(final=True)
        _say_large_documents(corpus.large_documents)

    def _generate(self) -> _Corpus:
        excluded = load_excluded(self._config.exclude_ngrams, self._work / "excluded-ngrams")
        generator = self._config.record_generator(self._vocabulary, excluded)
        logger.info("loading compiled code; the first run on a machine compiles it, which takes about half a minute")
        generator.warm_up()
        self._progress = Progress(self._input_bytes, self._num_shards)
        self._at_end.callback(self._progress.end)
        worker = TaskWorker(generator, self._config.reader_options, self._work)
        names = [f"task {number}" for number in range(len(self._tasks))]
        for result in filter(None, map(self._journal.result, names)):
            self._disk.add(result)
        results = self._do(names, self._tasks, worker, self._disk.add)
        corpus = _Corpus(Counter(), Counter(), FileLog(), [], [], [])
        for result in results:
            corpus.counts.update(result["counts"] | {"documents": result["documents"]})
            corpus.skipped.update(result["skipped"])
            corpus.files.update(result["files"])
            corpus.record_spills.extend(Spill(*each) for each in result["record_spills"])
            corpus.ngram_spills.extend(Spill(*each) for each in result["ngram_spills"])
            corpus.large_documents.extend(LargeDocument(*each) for each in result["large_documents"])
        return corpus

    def _gather(self, corpus: _Corpus) -> tuple[list[ShardInfo], list[Path]]:
        """Shards and merged n-grams out of the spills, which are deleted on the way."""
        shard_bytes = sum(spill.bytes for spill in corpus.record_spills) // self._num_shards
        num_parts = 1 + shard_bytes // self._config.generation.buffer_bytes
        shards = [
            ShardJob(
                self._config.output_dir / shard_name(number, self._num_shards),
                number,
                self._num_shards,
                num_parts,
                self._work,
                corpus.record_spills,
            )
            for number in range(self._num_shards)
        ]
        ngram_bytes = sum(spill.bytes for spill in corpus.ngram_spills)
        num_merges = self._kept.num_merges or 1 + ngram_bytes // self._config.generation.buffer_bytes
        merges = [
            NgramJob(
                self._work / f"merged-{number:05d}",
                number,
                num_merges,
                self._config.generation.masking.max_span_length,
                [self._work / spill.name for spill in corpus.ngram_spills],
            )
            for number in range(num_merges)
        ]
        names = [f"shard {number}" for number in range(len(shards))] + [
            f"ngrams {number} of {num_merges}" for number in range(num_merges)
        ]

        results = self._do(
            names,
            [*shards, *merges],
            gather,
            lambda _: self._kept.delete_gathered(corpus.record_spills, corpus.ngram_spills),
        )
        return [ShardInfo(**result) for result in results[: len(shards)]], [merge.output for merge in merges]

    def _do(
        self,
        names: Sequence[str],
        jobs: Sequence[Any],
        perform: Perform,
        when_done: Callable[[dict[str, Any]], None],
    ) -> list[dict[str, Any]]:
        """The jobs' results; jobs that the journal knows are not done again."""
        for result in filter(None, map(self._journal.result, names)):
            self._progress.add(_work_done(result), by_earlier_run=True)
        missing = [number for number, name in enumerate(names) if self._journal.result(name) is None]
        reported: dict[int, dict[str, int]] = {}
        results = {name: known for name in names if (known := self._journal.result(name))}
        missing_jobs = [jobs[number] for number in missing]
        for event in run_jobs(missing_jobs, self._config.num_processes, perform, lambda job: job.name):
            done = _work_done(event.values)
            before = reported.get(event.job_number, {})
            self._progress.add({name: value - before.get(name, 0) for name, value in done.items()})
            reported[event.job_number] = done
            if event.is_result:
                name = names[missing[event.job_number]]
                results[name] = event.values
                if self._may_stay(event.values):
                    self._journal.record(name, event.values)
                when_done(event.values)
            self._progress.show()
        return [results[name] for name in names]

    def _may_stay(self, result: dict[str, Any]) -> bool:
        """Whether a job need not be done again when the run goes on: a lost file may be replaced until then."""
        if "files" not in result or self._config.allow_unreadable_files:
            return True
        files = FileLog()
        files.update(result["files"])
        return not files.has_losses

    def _leave_nothing(self) -> None:
        shutil.rmtree(self._work)
        self._journal.discard()

    def _give_up(self, corpus: _Corpus) -> None:
        self._leave_nothing()
        if corpus.counts["documents"]:
            raise InputError(nothing_made(corpus.counts))
        reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(corpus.skipped.items()))
        raise InputError(
            f"input_file: no text found in {len(self._config.input_files)} files, the first is "
            f"{self._config.input_files[0]}; skipped: {reasons or 'nothing'}; {_said_of(corpus.files)}"
            "expected at least one document"
        )


def _say_large_pieces(pieces: Sequence[Task]) -> None:
    for piece in pieces:
        logger.warning(
            "%s: %.0f MB in one piece: one worker reads it alone while others wait; plain text is divided at blank "
            "lines (--document_per_line: at every line), JSON and what is compressed only between files",
            piece.units[0].name,
            piece.num_bytes / 1e6,
        )


def _say_large_documents(large: Sequence[LargeDocument]) -> None:
    if large:
        first = max(large, key=lambda document: document.lines)
        logger.warning(
            "%s: %d lines without a blank line between them, one document, hold %.0f%% of the text%s; where each line "
            "is a text of its own (comments, chats), give --document_per_line",
            first.unit,
            first.lines,
            100 * first.share,
            f" ({len(large)} files are like this)" if len(large) > 1 else "",
        )


def _said_of(files: FileLog) -> str:
    unreadable = files.summary()["unreadable"]
    return f"unreadable: {name_files(unreadable)}; " if unreadable else ""


def _work_done(values: dict[str, Any]) -> dict[str, int]:
    """What a job's report or result means for the progress line."""
    if "documents" not in values:
        return {"shards": int("sha256" in values)}
    return {"bytes": values["bytes"], "documents": values["documents"], "tokens": values["counts"]["tokens"]}
