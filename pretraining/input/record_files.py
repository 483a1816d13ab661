"""What is checked of the records before any graph is built: dataset.json, the first records, every id in range."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError
from kosplinter_common.records.dataset_info import DATASET_FILE, DatasetInfo
from kosplinter_common.records.examples import FLOAT32, RecordSpec
from pretraining.input import storage
from pretraining.input.pipeline import RecordFiles, parse
from pretraining.model.configuration import BertConfig

GZIP_MAGIC = b"\x1f\x8b"
RECORDS_CHECKED = 512


@dataclass(frozen=True)
class Dataset:
    """Record files that were checked, the features to read from them, and the vocabulary's sum where it is known."""

    files: RecordFiles
    spec: RecordSpec
    vocab_sha256: str | None


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
    for folder, info in infos.items():
        _check_info(info, wanted, config, vocab_file, folder)
    sums = {info.vocab.sha256: folder for folder, info in infos.items()}
    if len(sums) > 1:
        raise InputError(f"records of different vocabularies: found sha256 {sums}, expected one")
    compression = tuple("GZIP" if _head(path) == GZIP_MAGIC else "" for path in paths)
    files = RecordFiles(paths, (0,) * len(paths), compression)
    _check_first_record(files, wanted)
    _check_first_records(files, wanted, config.vocab_size)
    return Dataset(replace(files, records=_count(files, infos)), wanted, next(iter(sums), None))


def recorded_spec(patterns: str) -> RecordSpec | None:
    """The features by dataset.json beside the records (of several folders the first's), if there is one."""
    return next((info.record_spec for info in _infos_of(_expand(patterns)).values()), None)


def name_damage(files: RecordFiles) -> InputError | None:
    """Reads all files for the first record that cannot be read: after training met damaged data."""
    for path, compression in zip(files.paths, files.compression, strict=True):
        try:
            _count_file(path, compression)
        except InputError as error:
            return error
    return None


def _expand(patterns: str) -> tuple[str, ...]:
    paths: set[str] = set()
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        matched = tf.io.gfile.glob(pattern)
        if not matched:
            raise InputError(f"no file matches {pattern!r}")
        paths.update(matched)
    if not paths:
        raise InputError(f"no file pattern given: found {patterns!r}")
    for path in paths:
        if tf.io.gfile.isdir(path):
            raise InputError(f"{path}: found a folder, expected record files: try {path}/*.tfrecord")
        if not tf.io.gfile.stat(path).length:
            raise InputError(f"{path}: found an empty file, expected TFRecords")
    return tuple(sorted(paths))


def _infos_of(paths: tuple[str, ...]) -> dict[str, DatasetInfo]:
    """dataset.json of each folder that has one."""
    files = {folder: storage.join(folder, DATASET_FILE) for folder in sorted({os.path.dirname(path) for path in paths})}
    return {f: DatasetInfo.of(storage.read_json(path), path) for f, path in files.items() if tf.io.gfile.exists(path)}


def _check_info(info: DatasetInfo, wanted: RecordSpec, config: BertConfig, vocab_file: str, folder: str) -> None:
    where = os.path.join(folder, DATASET_FILE)
    for name in ("max_seq_length", "max_questions_per_seq", "max_predictions_per_seq"):
        found, expected = getattr(info, name), getattr(wanted, name)
        if found == 0 and expected:
            raise InputError(f"{where}: {name}: found 0 (no such features), expected --{name} {expected}")
        if expected and found != expected:
            raise InputError(f"{where}: {name}: found {found}, expected --{name} {expected}")
    if info.vocab.size != config.vocab_size:
        raise InputError(
            f"{where}: vocabulary of {info.vocab.size} tokens, expected the config's vocab_size {config.vocab_size}"
        )
    if vocab_file:
        with tf.io.gfile.GFile(vocab_file, "rb") as file:
            found_sum = hashlib.sha256(file.read()).hexdigest()
        if found_sum != info.vocab.sha256:
            raise InputError(f"{vocab_file}: sha256 {found_sum}, expected {info.vocab.sha256} as in {where}")


def _head(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read(len(GZIP_MAGIC))


def _fetch(build: Callable[[], Any]) -> Any:
    """Builds tensors in a graph of their own and returns their values."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        return session.run(build())


def _first(dataset: tf.data.Dataset) -> Any:
    return tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()


def _check_first_record(files: RecordFiles, wanted: RecordSpec) -> None:
    """Names the feature that is missing or of another length or type, which parsing by itself does not."""
    path = files.paths[0]
    try:
        payload = _fetch(lambda: _first(tf.data.TFRecordDataset(path, compression_type=files.compression[0])))
    except tf.errors.OutOfRangeError as error:
        raise InputError(f"{path}: found no records") from error
    except tf.errors.DataLossError as error:
        raise InputError(f"{path}: record 0: damaged, or not a TFRecord file: {error.message}") from error
    try:
        example = tf.train.Example.FromString(payload)
    except Exception as error:
        raise InputError(f"{path}: record 0: not a tf.train.Example: {error}") from error
    for name, (kind, length) in wanted.features().items():
        if name not in example.features.feature:
            raise InputError(f"{path}: record 0: found no {name}, expected {length} values of {kind}")
        feature = example.features.feature[name]
        values = feature.float_list.value if kind == FLOAT32 else feature.int64_list.value
        if len(values) != length:
            raise InputError(f"{path}: record 0: {name}: found {len(values)} values of {kind}, expected {length}")


def _check_first_records(files: RecordFiles, wanted: RecordSpec, vocab_size: int) -> None:
    """Ids must be in the vocabulary and positions inside the sequence, in the first records."""

    def batch() -> dict[str, tf.Tensor]:
        records = tf.data.Dataset.from_tensor_slices((list(files.paths), list(files.compression)))
        records = records.interleave(lambda path, kind: tf.data.TFRecordDataset(path, kind), cycle_length=16)
        return _first(records.take(RECORDS_CHECKED).batch(RECORDS_CHECKED).map(lambda batch: parse(batch, wanted)))

    try:
        values = _fetch(batch)
    except tf.errors.DataLossError as error:
        raise name_damage(files) or error from error
    except tf.errors.InvalidArgumentError as error:
        raise InputError(f"{files.paths[0]}: records of several shapes: {error.message}") from error
    limits = {name: wanted.max_seq_length for name in wanted.features() if name.startswith("masked_span_")}
    limits |= {"input_ids": vocab_size, "masked_lm_ids": vocab_size, "masked_lm_positions": wanted.max_seq_length}
    limits |= {"input_mask": 2, "masked_span_weights": 2, "masked_lm_weights": 2}
    for name, array in values.items():
        bad = array[(array < 0) | (array >= limits[name])]
        if bad.size:
            raise InputError(
                f"{', '.join(files.paths[:3])}: {name}: found {bad.flat[0]:g}, expected 0 to {limits[name] - 1}"
            )


def _count(files: RecordFiles, infos: dict[str, DatasetInfo]) -> tuple[int, ...]:
    known = {storage.join(folder, shard.name): shard for folder, info in infos.items() for shard in info.shards}
    counts = []
    for path, compression in zip(files.paths, files.compression, strict=True):
        if shard := known.get(path):
            found = tf.io.gfile.stat(path).length
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
    records = tf.data.TFRecordDataset
    try:
        return _fetch(
            lambda: (
                records(path, compression, buffer_size=1 << 22)
                .batch(1024)
                .reduce(np.int64(0), lambda count, batch: count + tf.size(batch, tf.int64))
            )
        )
    except tf.errors.DataLossError as error:
        number = 0
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            record = _first(records(path, compression))
            with contextlib.suppress(tf.errors.DataLossError):
                while True:
                    session.run(record)
                    number += 1
        raise InputError(f"{path}: record {number}: damaged: {error.message}") from error


def check_same_vocabulary(train: Dataset, evaluation: Dataset) -> None:
    """Raises:
    InputError: the records were made with different vocabularies.
    """
    found, expected = evaluation.vocab_sha256, train.vocab_sha256
    if found and expected and found != expected:
        raise InputError(f"{evaluation.files.paths[0]}: vocabulary sum {found}, expected {expected} as in training")
