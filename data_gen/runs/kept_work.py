"""What an earlier run left on the disk: kept where it is as it was written, done again where not, deleted when used."""

import logging
from collections.abc import Iterable
from pathlib import Path

from data_gen.runs.journal import Journal
from data_gen.storage.spills import Spill, groups_of, is_whole, key_range
from kosplinter_common.files import file_sha256
from kosplinter_common.records.dataset_info import ShardInfo

logger = logging.getLogger(__name__)


class KeptWork:
    """The spills in `work` and the shards in `output` that the journal knows."""

    def __init__(self, output: Path, work: Path, num_shards: int, journal: Journal):
        self._output, self._work, self._num_shards, self._journal = output, work, num_shards, journal

    def forget_damaged(self) -> None:
        """Has every job done again whose files are not there as they were written, and are still needed."""
        for job, result in list(self._journal.results.items()):
            shard = ShardInfo(**result) if job.startswith("shard") else None
            merged = Spill(*result["merged"]) if job.startswith("ngrams") else None
            if (shard and not self._is_shard_whole(shard)) or (merged and not is_whole(self._work, merged)):
                self._forget(job)
        groups = self._groups_to_gather()
        for job, result in list(self._journal.results.items()):
            if job.startswith("task"):
                needed = [spill for each in result["record_spills"] if (spill := Spill(*each)).group in groups]
                needed += [] if self.num_merges else [Spill(*each) for each in result["ngram_spills"]]
                if not all(is_whole(self._work, spill) for spill in needed):
                    self._forget(job)

    def _forget(self, job: str) -> None:
        logger.warning("%s: %s is done again: its files are missing or damaged", self._output, job)
        self._journal.forget(job)

    def _is_shard_whole(self, shard: ShardInfo) -> bool:
        path = self._output / shard.name
        return path.is_file() and path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256

    def _groups_to_gather(self) -> set[int]:
        """The groups of keys that shards still have to be gathered from."""
        missing = [number for number in range(self._num_shards) if not self._journal.result(f"shard {number}")]
        return {group for number in missing for group in groups_of(key_range(number, self._num_shards))}

    @property
    def num_merges(self) -> int:
        """In how many ranges the n-grams were merged; 0 before all are. Another --buffer_mb makes another number."""
        totals = [int(job.split()[-1]) for job in self._journal.results if job.startswith("ngrams")]
        return next((total for total in totals if totals.count(total) == total), 0)

    def delete_gathered(self, record_spills: Iterable[Spill], ngram_spills: Iterable[Spill]) -> None:
        """Deletes the spills that no job needs any more."""
        groups = self._groups_to_gather()
        gathered = [spill for spill in record_spills if spill.group not in groups]
        for spill in [*gathered, *(ngram_spills if self.num_merges else [])]:
            (self._work / spill.name).unlink(missing_ok=True)
