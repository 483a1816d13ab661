"""What is checked of the records before any graph is built: dataset.json, the first records, every id in range."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError, expand_globs
from kosplinter_common.path_patterns import matching_paths
from kosplinter_common.records.dataset_info import DATASET_FILE, DatasetInfo, ShardInfo
from kosplinter_common.records.examples import RecordSpec
from pretraining.input import storage
from pretraining.input.pipeline import RecordFiles
from pretraining.input.record_faults import find_fault, read_file
from pretraining.model.configuration import BertConfig

# What asks for features that records may lack, and what does without.
_WANTED = {
    "max_seq_length": "sequences",
    "max_questions_per_seq": "recurring spans, as --recurring_span_selection asks; without the span flags training "
    "follows the records",
    "max_predictions_per_seq": "masked LM predictions, as it takes --recurring_span_selection and "
    "--only_recurring_span_selection to train spans alone; without the span flags training follows the records",
}
GZIP_MAGIC = b"\x1f\x8b"
# Of these first files so many first records are looked at before training; the rest in the stream.
FILES_CHECKED, RECORDS_CHECKED = 16, 512
FILES_AT_A_TIME = 16


@dataclass(frozen=True)
class Dataset:
    """Record files that were checked, and the features to read from them."""

    files: RecordFiles
    spec: RecordSpec
    vocab_sha256: str | None  # where dataset.json or --vocab_file tells
    vocab_size: int  # ids lie below it
    sums: tuple[str, ...]  # SHA-256 of each file


class _Look(NamedTuple):
    length: int  # bytes
    head: bytes


def open_dataset(patterns: str, wanted: RecordSpec, config: BertConfig, vocab_file: str = "") -> Dataset:
    """Finds and checks record files.

    Args:
      patterns: comma-separated globs, local or gs://.
      wanted: features that the run will use; they and their lengths must be in the records.
      config: the model's, for its vocab_size and its longest sequence.
      vocab_file: if given, its SHA-256 must be that of dataset.json.

    Raises:
      InputError: no or empty or damaged files; flags, config, vocabulary, dataset.json and records that disagree.
    """
    if wanted.max_seq_length > config.max_position_embeddings:
        raise InputError(
            f"--max_seq_length: found {wanted.max_seq_length}, expected at most the config's "
            f"max_position_embeddings {config.max_position_embeddings}"
        )
    paths = _expand(patterns)
    infos = _infos_of(paths)
    looks = _look_at(paths, _shards(infos))
    for folder, info in infos.items():
        _check_info(info, wanted, config, vocab_file, folder)
    sums = {info.vocab.sha256: folder for folder, info in infos.items()}
    if len(sums) > 1:
        raise InputError(f"records of different vocabularies: found sha256 {sums}, expected one")
    compression = tuple("GZIP" if looks[path].head == GZIP_MAGIC else "" for path in paths)
    files = RecordFiles(paths, (0,) * len(paths), compression)
    _check_first_records(files, wanted, config.vocab_size)
    vocab_sha256 = next(iter(sums), None) or (_sha256(vocab_file) if vocab_file else None)
    files = replace(files, records=_count(files, infos, looks))
    return Dataset(files, wanted, vocab_sha256, config.vocab_size, _sums(files, infos))


def _check_first_records(files: RecordFiles, wanted: RecordSpec, vocab_size: int) -> None:
    first = min(len(files.paths), FILES_CHECKED)
    files = RecordFiles(files.paths[:first], files.records[:first], files.compression[:first])
    if fault := find_fault(files, wanted, vocab_size, [RECORDS_CHECKED // first] * first):
        raise fault


def check_all_records(data: Dataset, limit: int = 0) -> None:
    """Reads every record that an evaluation will use: the first `limit` in file order; 0: all.

    Raises:
      InputError: the first that cannot be used, by its file and number.
    """
    left, counts = limit or data.files.num_records, []
    for records in data.files.records:
        counts.append(min(left, records))
        left -= counts[-1]
    files = data.files
    used = sum(count > 0 for count in counts)  # from the front
    files = RecordFiles(files.paths[:used], files.records[:used], files.compression[:used])
    if fault := find_fault(files, data.spec, data.vocab_size, counts[:used]):
        raise fault


def recorded_spec(patterns: str) -> RecordSpec | None:
    """The features by dataset.json beside the records (of several folders the first's), if there is one."""
    return next((info.record_spec for info in _infos_of(_expand(patterns)).values()), None)


def name_damage(files: RecordFiles) -> InputError | None:
    """Reads all files for the first record that cannot be read: after training met damaged data."""
    return find_fault(files, None)


def _expand(patterns: str) -> tuple[str, ...]:
    paths = expand_globs(patterns, exists=_exists, matching=_matching)
    for path in paths:
        if not storage.is_utf8(path):
            raise InputError(f"{path!r}: found a name that is not UTF-8, which TensorFlow cannot open: rename it")
    return tuple(paths)


def _exists(path: str) -> bool:
    return tf.io.gfile.exists(path) if "://" in path else os.path.lexists(path)


def _matching(pattern: str) -> list[str]:
    return tf.io.gfile.glob(pattern) if "://" in pattern else matching_paths(pattern)


def _look_at(paths: tuple[str, ...], known: dict[str, ShardInfo]) -> dict[str, _Look]:
    """Two calls a file, several files at a time.

    Each is a question over the network on gs://, so of a shard there that dataset.json tells of nothing is asked: the
    listing found it, and one that was cut short is met, and named, in the stream.

    Raises:
      InputError: a folder or an empty file among them.
    """
    told = {path: _Look(known[path].bytes, b"") for path in paths if "://" in path and path in known}
    asked = [path for path in paths if path not in told]
    with ThreadPoolExecutor(FILES_AT_A_TIME) as pool:
        return told | dict(zip(asked, pool.map(_look, asked), strict=True))


def _look(path: str) -> _Look:
    found = tf.io.gfile.stat(path)
    if found.is_directory:
        raise InputError(f"{path}: found a folder, expected record files: try {path}/*.tfrecord")
    if not found.length:
        raise InputError(f"{path}: found an empty file, expected TFRecords")
    with tf.io.gfile.GFile(path, "rb") as file:
        return _Look(found.length, file.read(len(GZIP_MAGIC)))


def _infos_of(paths: tuple[str, ...]) -> dict[str, DatasetInfo]:
    """dataset.json of each folder that has one."""
    files = {folder: storage.join(folder, DATASET_FILE) for folder in sorted({os.path.dirname(path) for path in paths})}
    return {f: DatasetInfo.of(storage.read_json(path), path) for f, path in files.items() if tf.io.gfile.exists(path)}


def _check_info(info: DatasetInfo, wanted: RecordSpec, config: BertConfig, vocab_file: str, folder: str) -> None:
    where = os.path.join(folder, DATASET_FILE)
    for name in ("max_seq_length", "max_questions_per_seq", "max_predictions_per_seq"):
        found, expected = getattr(info, name), getattr(wanted, name)
        if found == 0 and expected:
            raise InputError(f"{where}: {name}: found 0 (no such features), expected {_WANTED[name]}")
        if expected and found != expected:
            raise InputError(f"{where}: {name}: found {found}, expected --{name} {expected}")
    if info.vocab.size != config.vocab_size:
        raise InputError(
            f"{where}: vocabulary of {info.vocab.size} tokens, expected the config's vocab_size {config.vocab_size}"
        )
    if vocab_file:
        found_sum = _sha256(vocab_file)
        if found_sum != info.vocab.sha256:
            raise InputError(f"{vocab_file}: sha256 {found_sum}, expected {info.vocab.sha256} as in {where}")


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _shards(infos: dict[str, DatasetInfo]) -> dict[str, ShardInfo]:
    return {storage.join(folder, shard.name): shard for folder, info in infos.items() for shard in info.shards}


def _sums(files: RecordFiles, infos: dict[str, DatasetInfo]) -> tuple[str, ...]:
    """As dataset.json says, else read."""
    known = _shards(infos)
    return tuple(known[path].sha256 if path in known else _sha256(path) for path in files.paths)


def _count(files: RecordFiles, infos: dict[str, DatasetInfo], looks: dict[str, _Look]) -> tuple[int, ...]:
    known = _shards(infos)
    counts = []
    for path, compression in zip(files.paths, files.compression, strict=True):
        if shard := known.get(path):
            found = looks[path].length
            if found != shard.bytes:
                raise InputError(f"{path}: found {found} bytes, expected {shard.bytes} as in {DATASET_FILE}")
            counts.append(shard.records)
        else:
            logging.info("Counting the records of %s, of which no %s tells", path, DATASET_FILE)
            counts.append(_count_file(path, compression))
    if not sum(counts):
        raise InputError(f"{', '.join(files.paths[:3])}: found no records")
    return tuple(counts)


def _count_file(path: str, compression: str) -> int:
    """Number of records of one file, all checksums verified.

    Raises:
      InputError: the number of the record that is damaged.
    """
    try:
        return read_file(path, compression)
    except tf.errors.DataLossError as error:
        raise name_damage(RecordFiles((path,), (0,), (compression,))) or error from error


def evaluation_key(data: Dataset, records: int) -> str:
    """Names what an evaluation reads, `records` records of these files: 12 hexadecimal digits."""
    return hashlib.sha256(" ".join([*sorted(data.sums), str(records)]).encode()).hexdigest()[:12]


def check_same_vocabulary(train: Dataset, evaluation: Dataset) -> None:
    """Raises:
    InputError: the records were made with different vocabularies.
    """
    found, expected = evaluation.vocab_sha256, train.vocab_sha256
    if found and expected and found != expected:
        raise InputError(f"{evaluation.files.paths[0]}: vocabulary sum {found}, expected {expected} as in training")
