"""The fingerprint of a whole run, which its journal keeps: the input files by content, tasks, shards, settings.

A run that goes on must be the run that was begun. Otherwise records would be lost or doubled without a word.
"""

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from data_gen.runs.config import RunConfig
from data_gen.runs.journal import Journal
from data_gen.runs.tasks import Task, plan_tasks
from kosplinter_common.cli import InputError
from kosplinter_common.files import file_sha256

PLAN = "plan"  # its line in the journal
_AGAIN = "expected the same as when the run was begun, or another --output_dir"


def plan_of_run(config: RunConfig, journal: Journal, tasks: list[Task], num_shards: int) -> tuple[list[Task], int]:
    """The tasks and the number of shards that this run has to keep to; notes them in the journal of a new run.

    A file whose records are not made yet may have been replaced (a damaged archive); tasks that this moves to other
    places in the corpus are forgotten, and done again.

    Raises:
      InputError: the folder's run was begun with other files, other content of them, or other settings.
    """
    now = _fingerprint(config, tasks, num_shards)
    before = journal.result(PLAN)
    if before is None:
        if journal.results:
            raise InputError(f"{config.output_dir}: begun by an earlier version of this program; {_AGAIN}")
        journal.record(PLAN, now)
        return tasks, num_shards
    _refuse_other_settings(config, before, now)
    _refuse_other_files(before["inputs"], now["inputs"], journal)
    units_before, units_now = ({path: each["units"] for path, each in of["inputs"].items()} for of in (before, now))
    if units_before == units_now and before["first_units"] != now["first_units"]:
        tasks = _plan(config, before["first_units"])
    now |= {"num_shards": before["num_shards"], "first_units": [task.first_unit for task in tasks]}
    if now != before:
        journal.record(PLAN, now)
    for number, result in _finished_tasks(journal).items():
        if number >= len(tasks) or result["input"] != tasks[number].fingerprint:
            journal.forget(f"task {number}")
    return tasks, before["num_shards"]


def _plan(config: RunConfig, first_units: Sequence[int]) -> list[Task]:
    by_line = config.reader_options.document_per_line
    return plan_tasks(config.input_files, config.corpus_format, config.unit_bytes, by_line, first_units)


def _fingerprint(config: RunConfig, tasks: Sequence[Task], num_shards: int) -> dict[str, Any]:
    units = Counter(unit.path for task in tasks for unit in task.units)
    return {
        "inputs": {path: _file_fingerprint(path) | {"units": units[path]} for path in config.input_files},
        "first_units": [task.first_unit for task in tasks],
        "num_shards": num_shards,
        "settings": {
            "generation": repr(dataclasses.replace(config.generation, buffer_bytes=0)),
            "reader_options": repr(config.reader_options),
            "do_lower_case": config.do_lower_case,
            "corpus_format": config.corpus_format,
            "unit_bytes": config.unit_bytes,
            "vocab_file": file_sha256(config.vocab_file),
            "stopwords": hashlib.sha256("\n".join(sorted(config.stopwords)).encode()).hexdigest(),
            "exclude_ngrams": [file_sha256(path) for path in config.exclude_ngrams],
        },
    }


def _file_fingerprint(path: str) -> dict[str, Any]:
    status = os.stat(path)
    return {"bytes": status.st_size, "modified": status.st_mtime_ns, "sha256": file_sha256(path)}


def _refuse_other_settings(config: RunConfig, before: dict[str, Any], now: dict[str, Any]) -> None:
    compared = [(name, before["settings"].get(name), value) for name, value in now["settings"].items()]
    if config.num_shards:
        compared.append(("num_shards", before["num_shards"], config.num_shards))
    for name, begun_with, found in compared:
        if begun_with != found:
            raise InputError(f"{name}: {config.output_dir} was begun with {begun_with!r}, found {found!r}; {_AGAIN}")


def _refuse_other_files(before: dict[str, Any], now: dict[str, Any], journal: Journal) -> None:
    for path in [*now, *before]:
        if path not in before or path not in now:
            what = "a file more than" if path not in before else "not found, but it was among the input"
            raise InputError(f"--input_file: {path}: {what} when the run was begun ({len(before)} files); {_AGAIN}")
    finished = {path for result in _finished_tasks(journal).values() for path in result["paths"]}
    all_tasks_were = any(job.startswith("shard") for job in journal.results)
    for path, file in now.items():
        if file["sha256"] != before[path]["sha256"] and (path in finished or all_tasks_were):
            modified = datetime.fromtimestamp(file["modified"] / 1e9, UTC)
            raise InputError(
                f"--input_file: {path}: found other content ({file['bytes']} bytes, before {before[path]['bytes']}, "
                f"modified {modified:%Y-%m-%d %H:%M:%S} UTC) than when its records were made; {_AGAIN}"
            )


def _finished_tasks(journal: Journal) -> dict[int, dict[str, Any]]:
    return {
        int(job.removeprefix("task ")): result for job, result in journal.results.items() if job.startswith("task ")
    }
