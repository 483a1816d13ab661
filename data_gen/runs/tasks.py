"""How a corpus is divided into tasks for workers: by the input and the flags only, never by the number of workers."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from data_gen.corpora.reading import Unit, plan_units
from kosplinter_common.cli import InputError

_MAX_TASKS = 1000  # about; more would mean that many spills to open for every shard
_LARGE_PIECE_UNITS = 2  # a piece of so many units' size is no usual one


@dataclass(frozen=True)
class Task:
    """Units that one worker reads one after the other. A unit's number in the whole corpus is first_unit + index."""

    first_unit: int
    units: tuple[Unit, ...]
    num_bytes: int  # about, as stored

    @property
    def fingerprint(self) -> str:
        """Changes when the task's units do; not with the files' content, which the plan's fingerprint tells of."""
        return hashlib.sha256(repr((self.first_unit, self.units)).encode()).hexdigest()

    @property
    def name(self) -> str:
        first, last = self.units[0].path, self.units[-1].path
        return first if first == last else f"{first} ... {last}"


def plan_tasks(
    files: Sequence[str],
    corpus_format: str,
    unit_bytes: int,
    document_per_line: bool = False,
    first_units: Sequence[int] = (),
) -> list[Task]:
    """Tasks in the order of the files, each of units of `unit_bytes` or, of a large corpus, of more.

    first_units: the number of each task's first unit, where an earlier plan is to be kept to.

    Raises:
      InputError: a file is missing or cannot be read.
    """
    for path in files:
        if not os.path.isfile(path):
            raise InputError(f"input_file: {path}: not found, or not a file")
    units = plan_units(list(files), corpus_format, unit_bytes, document_per_line)
    members = Counter(unit.path for unit in units if unit.member is not None)
    sizes = [_unit_bytes(unit, members) for unit in units]
    task_bytes = max(unit_bytes, sum(sizes) // _MAX_TASKS)
    starts = first_units or _first_units(sizes, task_bytes)
    return [
        Task(first, tuple(units[first:end]), sum(sizes[first:end])) for first, end in pairwise([*starts, len(units)])
    ]


def _first_units(sizes: Sequence[int], task_bytes: int) -> list[int]:
    starts = [0] if sizes else []
    held = 0
    for number, size in enumerate(sizes):
        if held and held + size > task_bytes:
            starts.append(number)
            held = 0
        held += size
    return starts


def _unit_bytes(unit: Unit, members: Counter[str]) -> int:
    if unit.end is not None:
        return unit.end - unit.start
    size = os.path.getsize(unit.path)
    return size // members[unit.path] if unit.member is not None else size - unit.start


def large_pieces(tasks: Sequence[Task], unit_bytes: int, num_processes: int) -> list[Task]:
    """Tasks that cannot be divided and are so large that other workers will wait for the one that has it."""
    fair_share = sum(task.num_bytes for task in tasks) / max(num_processes, 2)
    return [
        task
        for task in tasks
        if len(task.units) == 1 and task.num_bytes > max(fair_share, _LARGE_PIECE_UNITS * unit_bytes)
    ]
