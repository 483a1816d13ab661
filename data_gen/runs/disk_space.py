"""Whether the records of a run find room on the disk: said before it begins, and as soon as more is known."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_gen.runs.tasks import Task
from data_gen.storage.spills import NUM_GROUPS, Spill
from kosplinter_common.cli import InputError

logger = logging.getLogger(__name__)

# Bytes of records for each byte of input and duplicate, at least: of text by the line, and of JSON and archives, whose
# share of text is not known. Full records of Korean text take 0.8; short documents more, most of it padding.
_OF_LINES, _OF_OTHERS = 0.7, 0.15
_LINE_FORMATS = ("text", "tokenized", "wiki", "wikitext", "jsonl", "aihub_tsv")
_KNOWN_SHARE = 0.02  # of the input, after which what is made tells how much will be made
_SHARDS_BESIDE_SPILLS = 1 + 1 / NUM_GROUPS  # spills are deleted a group at a time


class DiskSpace:
    """The room that spills and shards in `folder` need, and what there is."""

    def __init__(self, folder: Path, total_bytes: int):
        self._folder, self._total_bytes = folder, total_bytes
        self._read_bytes = self._spilled_bytes = 0
        self._has_warned = False

    def refuse_too_little(self, tasks: Sequence[Task], dupe_factor: int) -> None:
        """Raises InputError where even records of the smallest size have no room; `tasks` are those to be done."""
        rates = ((task, _OF_LINES if task.units[0].format in _LINE_FORMATS else _OF_OTHERS) for task in tasks)
        needed = sum(task.num_bytes * rate for task, rate in rates) * dupe_factor * _SHARDS_BESIDE_SPILLS
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise InputError(
                f"{self._folder}: records of this input need {_size(needed)} or more, found {_size(free)} free; "
                "expected more room, an --output_dir on another disk, or a lower --dupe_factor"
            )

    def add(self, result: dict[str, Any]) -> None:
        """Counts what a task gave; warns, once, when it is clear that the rest will find no room."""
        self._read_bytes += result["bytes"]
        self._spilled_bytes += sum(Spill(*each).bytes for each in result["record_spills"])
        if self._has_warned or self._read_bytes < _KNOWN_SHARE * self._total_bytes:
            return
        whole = self._spilled_bytes * self._total_bytes / max(self._read_bytes, 1)
        needed, free = whole * _SHARDS_BESIDE_SPILLS - self._spilled_bytes, shutil.disk_usage(self._folder).free
        if free < needed:
            self._has_warned = True
            logger.warning(
                "%s: the rest of this run needs about %s, found %s free; when the disk is full, make room, and the "
                "same command goes on",
                self._folder,
                _size(needed),
                _size(free),
            )


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
