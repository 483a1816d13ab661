"""The first record that training cannot use, by its file and number: damaged, of another shape, or out of range."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import FLOAT32, RecordSpec
from pretraining.input.pipeline import RecordFiles, parse, value_limits

_BATCH = 1024
ALL = -1


def fetch(build: Callable[[], Any]) -> Any:
    """Builds tensors in a graph of their own and returns their values."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        return session.run(build())


def find_fault(
    files: RecordFiles,
    spec: RecordSpec | None,
    vocab_size: int | None = None,
    counts: Sequence[int] | None = None,
    damage_too: bool = True,
) -> InputError | None:
    """Reads records as training does; the first that it cannot use, or None.

    Args:
      files: where to look, in this order.
      spec: the features that are used; None: only that records can be read is looked at.
      vocab_size: ids lie below it; None: ids are not looked at.
      counts: how many records of each file to read, ALL for every one of a file; None: every one of all files.
      damage_too: False passes over the rest of a file from a damaged record on.
    """
    counts = counts or [ALL] * len(files.paths)
    for path, compression, count in zip(files.paths, files.compression, counts, strict=True):
        try:
            read_file(path, compression, spec, vocab_size, count)
        except tf.errors.InvalidArgumentError as error:
            return _name_fault(path, compression, spec, vocab_size) or InputError(f"{path}: {_reason(error)}")
        except tf.errors.DataLossError as error:
            if damage_too:
                return _name_fault(path, compression, spec, vocab_size) or InputError(f"{path}: {_reason(error)}")
    return None


def read_file(
    path: str, compression: str, spec: RecordSpec | None = None, vocab_size: int | None = None, count: int = ALL
) -> int:
    """Reads (and, given a spec, parses) a file's records, or its first `count`; how many there are.

    Raises:
      tf.errors.DataLossError, tf.errors.InvalidArgumentError: a record that cannot be read, or not be used.
    """

    def build() -> tf.Tensor:
        batches = tf.data.TFRecordDataset(path, compression, buffer_size=1 << 22).take(count).batch(_BATCH)
        if spec:
            batches = batches.map(lambda batch: parse(batch, spec, vocab_size)["input_ids"])
        return batches.reduce(np.int64(0), lambda total, batch: total + tf.shape(batch, tf.int64)[0])

    return int(fetch(build))


def _name_fault(path: str, compression: str, spec: RecordSpec | None, vocab_size: int | None) -> InputError | None:
    """Looks at one record after the other, slowly, of a file that is known to have a fault."""
    number = 0
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        dataset = tf.data.TFRecordDataset(path, compression)
        following = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
        try:
            while True:
                payload = session.run(following)
                if spec and (fault := _fault_of(payload, spec, vocab_size)):
                    return InputError(f"{path}: record {number}: {fault}")
                number += 1
        except tf.errors.DataLossError as error:
            what = "damaged" if number else "damaged, or not a TFRecord file"
            return InputError(f"{path}: record {number}: {what}: {_reason(error)}")
        except tf.errors.OutOfRangeError:
            return None


def _reason(error: tf.errors.OpError) -> str:
    """What an operation complained of, without the stack of the graph's making that may stand around it."""
    told = re.search(r"(?:corrupted|truncated|Key:)[^\n]*", error.message)
    return told[0] if told else error.message.strip().split("\n")[0]


def _fault_of(payload: bytes, spec: RecordSpec, vocab_size: int | None) -> str | None:
    """Why a serialised example cannot be used, with what was found and expected; None where it can."""
    try:
        features = tf.train.Example.FromString(payload).features.feature
    except Exception as error:  # of whatever kind the installed protobuf raises
        return f"not a tf.train.Example: {error}"
    limits = value_limits(spec, vocab_size)
    for name, (kind, length) in spec.features().items():
        if name not in features:
            return f"found no {name}, expected {length} values of {kind}{_wanted_by(name)}"
        values = np.array(features[name].float_list.value if kind == FLOAT32 else features[name].int64_list.value)
        if len(values) != length:
            return f"{name}: found {len(values)} values of {kind}, expected {length}{_wanted_by(name)}"
        if kind == FLOAT32:
            bad, expected = values[(values != 0) & (values != 1)], "0 or 1"
        else:
            limit = limits.get(name, np.iinfo(np.int64).max)
            bad, expected = values[(values < 0) | (values >= limit)], f"0 to {limit - 1}"
        if bad.size:
            return f"{name}: found {bad[0]}, expected {expected}"
    return None


def _wanted_by(feature: str) -> str:
    """The flags that ask for a feature and its length."""
    if feature.startswith("masked_lm_"):
        return " (--max_predictions_per_seq; masked LM is left out by --only_recurring_span_selection)"
    if feature.startswith("masked_span_"):
        return " (--max_questions_per_seq, wanted by --recurring_span_selection)"
    return " (--max_seq_length)"
