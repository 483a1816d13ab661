"""dataset.json: what stands beside the records and says how they were made."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kosplinter_common.cli import InputError
from kosplinter_common.files import JSON_ERRORS, atomic_file, read_json_object
from kosplinter_common.records.examples import RecordSpec

DATASET_FILE = "dataset.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class VocabInfo:
    """The vocabulary's file name, its number of tokens, and the SHA-256 of the file's bytes."""

    file: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ShardInfo:
    """One record file: its name in the folder, number of records, size in bytes, SHA-256."""

    name: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DatasetInfo:
    """Everything dataset.json holds.

    flags: every flag of the run by its name.
    counts: documents, records, tokens (without padding), questions, padding_rate, ...
    skipped: how often a document, or part of the input, was left out, by reason.
    files: how many were "decoded", by encoding; those "without_documents" and those "unreadable", with the reason of
      each.
    """

    flags: dict[str, Any]
    max_seq_length: int
    max_questions_per_seq: int
    max_predictions_per_seq: int
    vocab: VocabInfo
    counts: dict[str, Any]
    skipped: dict[str, int]
    shards: tuple[ShardInfo, ...]
    format_version: int = FORMAT_VERSION
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def record_spec(self) -> RecordSpec:
        return RecordSpec(self.max_seq_length, self.max_questions_per_seq, self.max_predictions_per_seq)

    def save(self, folder: str | Path) -> None:
        """Writes dataset.json into `folder`, whole or not at all."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        with atomic_file(Path(folder) / DATASET_FILE) as partial:
            partial.write_text(text, encoding="utf-8", errors=JSON_ERRORS)

    @classmethod
    def load(cls, folder: str | Path) -> "DatasetInfo":
        """Reads dataset.json of `folder`.

        Raises:
          InputError: no such file, broken JSON, another format version, or a key that is missing or unknown.
        """
        path = Path(folder) / DATASET_FILE
        return cls.of(read_json_object(path, "the record of a finished run of create_pretraining_data.py"), str(path))

    @classmethod
    def of(cls, values: dict[str, Any], path: str) -> "DatasetInfo":
        """From what the dataset.json at `path` holds; raises InputError as `load` does."""
        if values.get("format_version") != FORMAT_VERSION:
            found = values.get("format_version")
            raise InputError(f"{path}: format_version: found {found!r}, expected {FORMAT_VERSION}")
        try:
            values["vocab"] = VocabInfo(**values["vocab"])
            values["shards"] = tuple(ShardInfo(**shard) for shard in values["shards"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: keys differ from the format's: {error}") from error
