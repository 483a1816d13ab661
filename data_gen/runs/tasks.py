"""How a corpus is divided into tasks for workers: by the input and the flags only, never by the number of workers."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data_gen.corpora.reading import Unit, plan_units
from kosplinter_common.cli import InputError

_MAX_TASKS = 1000  # about; more would mean that many spills to open for every shard


@dataclass(frozen=True)
class Task:
    """Units that one worker reads one after the other. A unit's number in the whole corpus is first_unit + index."""

    first_unit: int
    units: tuple[Unit, ...]
    num_bytes: int  # about, as stored

    @property
    def fingerprint(self) -> str:
        """Changes when the task's units, or the sizes of their files, do."""
        return hashlib.sha256(repr((self.first_unit, self.units, self.num_bytes)).encode()).hexdigest()

    @property
    def name(self) -> str:
        first, last = self.units[0].path, self.units[-1].path
        return first if first == last else f"{first} ... {last}"


def plan_tasks(files: Sequence[str], corpus_format: str, unit_bytes: int) -> list[Task]:
    """Tasks in the order of the files, each of units of `unit_bytes` or, of a large corpus, of more.

    Raises:
      InputError: a file is missing or cannot be read.
    """
    for path in files:
        if not os.path.isfile(path):
            raise InputError(f"input_file: {path}: not found, or not a file")
    units = plan_units(list(files), corpus_format, unit_bytes)
    members = Counter(unit.path for unit in units if unit.member is not None)
    sizes = [_unit_bytes(unit, members) for unit in units]
    task_bytes = max(unit_bytes, sum(sizes) // _MAX_TASKS)
    tasks: list[Task] = []
    first, held = 0, 0
    for number, size in enumerate(sizes):
        if held and held + size > task_bytes:
            tasks.append(Task(first, tuple(units[first:number]), held))
            first, held = number, 0
        held += size
    if first < len(units):
        tasks.append(Task(first, tuple(units[first:]), held))
    return tasks


def _unit_bytes(unit: Unit, members: Counter[str]) -> int:
    if unit.end is not None:
        return unit.end - unit.start
    size = os.path.getsize(unit.path)
    return size // members[unit.path] if unit.member is not None else size - unit.start
