"""Bad input is named before any graph is built."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import ExampleEncoder, RecordSpec
from kosplinter_common.records.tfrecords import write_records
from pretraining.input import record_files
from pretraining.input.pipeline import training_batches
from pretraining.input.record_faults import find_fault
from pretraining.input.record_files import (
    check_all_records,
    check_same_vocabulary,
    name_damage,
    open_dataset,
    recorded_spec,
)
from tests.pretraining.samples import SPEC, random_record, small_config, write_shards

CONFIG = small_config()


def test_records_are_opened_with_and_without_dataset_json(tmp_path: Path) -> None:
    write_shards(tmp_path, [3, 2, 4], gzipped=(1,))
    with_info = open_dataset(f"{tmp_path}/*.tfrecord", SPEC, CONFIG)
    (tmp_path / "dataset.json").unlink()
    without = open_dataset(f"{tmp_path}/*0-of*.tfrecord, {tmp_path}/*[12]-of*", SPEC, CONFIG)
    assert with_info.files == without.files
    assert with_info.files.records == (3, 2, 4) and with_info.files.compression == ("", "GZIP", "")
    assert with_info.vocab_sha256 == "0" * 64 and without.vocab_sha256 is None


def test_records_may_hold_more_than_is_trained(tmp_path: Path) -> None:
    write_shards(tmp_path, [2])
    assert (
        open_dataset(f"{tmp_path}/*.tfrecord", replace(SPEC, max_predictions_per_seq=0), CONFIG).files.num_records == 2
    )


@pytest.mark.parametrize("keep_info", [True, False])
@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (RecordSpec(8, 3, 2), r"max_seq_length: found 16, expected|input_ids: found 16 values of int64, expected 8"),
        (RecordSpec(16, 5, 2), r"questions_per_seq: found 3, expected|masked_span_positions: found 3 .* expected 5"),
        (RecordSpec(16, 3, 4), r"predictions_per_seq: found 2, expected|masked_lm_positions: found 2 .* expected 4"),
        (RecordSpec(32, 3, 2), r"max_seq_length: found 32, expected at most .* 16"),
    ],
)
def test_lengths_that_disagree(tmp_path: Path, keep_info: bool, wanted: RecordSpec, message: str) -> None:
    write_shards(tmp_path, [2])
    if not keep_info:
        (tmp_path / "dataset.json").unlink()
    with pytest.raises(InputError, match=message):
        open_dataset(f"{tmp_path}/*.tfrecord", wanted, CONFIG)


def test_features_that_are_not_there(tmp_path: Path) -> None:
    write_shards(tmp_path, [2], RecordSpec(16, 3, 0))
    with pytest.raises(InputError, match=r"max_predictions_per_seq: found 0 \(no such features\), expected masked"):
        open_dataset(f"{tmp_path}/*.tfrecord", SPEC, CONFIG)
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(InputError, match="found no masked_lm_positions, expected 2 values of int64"):
        open_dataset(f"{tmp_path}/*.tfrecord", SPEC, CONFIG)


def test_vocabulary_that_disagrees(tmp_path: Path) -> None:
    write_shards(tmp_path / "a", [2], vocab_size=61)
    with pytest.raises(InputError, match=r"vocabulary of 61 tokens, expected the config's vocab_size 60"):
        open_dataset(f"{tmp_path}/a/*.tfrecord", SPEC, CONFIG)
    write_shards(tmp_path / "b", [2])
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(InputError, match=r"vocab.txt: sha256 \w+, expected 0{64}"):
        open_dataset(f"{tmp_path}/b/*.tfrecord", SPEC, CONFIG, str(tmp_path / "vocab.txt"))
    good = open_dataset(f"{tmp_path}/b/*.tfrecord", SPEC, CONFIG)
    with pytest.raises(InputError, match="as in training"):
        check_same_vocabulary(replace(good, vocab_sha256="1" * 64), good)


@pytest.mark.parametrize(
    ("name", "value"), [("input_ids", 60), ("masked_lm_ids", 60), ("masked_span_endings", 16), ("input_mask", 2)]
)
def test_values_out_of_range(tmp_path: Path, name: str, value: int) -> None:
    records = [random_record(np.random.default_rng(i), i) for i in range(4)]
    records[3][name][1] = value
    write_records(tmp_path / "r.tfrecord", map(ExampleEncoder(SPEC).encode, records))
    with pytest.raises(InputError, match=rf"r.tfrecord: record 3: {name}: found {value}, expected 0 to {value - 1}$"):
        open_dataset(str(tmp_path / "r.tfrecord"), SPEC, CONFIG)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("masked_lm_positions", 16, "found 16, expected 0 to 15"),
        ("input_ids", 2**32 + 5, "found 4294967301, expected 0 to 59"),  # 5 as int32
        ("masked_span_beginnings", -1, "found -1, expected 0 to 15"),
        ("masked_span_weights", np.nan, "found nan, expected 0 or 1"),
        ("masked_lm_weights", np.inf, "found inf, expected 0 or 1"),
    ],
)
def test_a_late_value_out_of_range_is_met_in_the_stream_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float, found: str
) -> None:
    """The last record of the second file lies behind those that opening looks at."""
    monkeypatch.setattr("pretraining.input.record_files.RECORDS_CHECKED", 4)
    records = [random_record(np.random.default_rng(i), i) for i in range(3)]
    payloads = list(map(ExampleEncoder(SPEC).encode, records))
    write_records(tmp_path / "a.tfrecord", payloads)
    example = tf.train.Example.FromString(payloads[-1])
    feature = example.features.feature[name]
    (feature.float_list if name.endswith("weights") else feature.int64_list).value[1] = value
    write_records(tmp_path / "b.tfrecord", [*payloads[:-1], example.SerializeToString()])
    data = open_dataset(f"{tmp_path}/*.tfrecord", SPEC, CONFIG)
    check_all_records(data, data.files.num_records - 1)
    message = rf"b\.tfrecord: record {len(records) - 1}: {name}: {found}$"
    with pytest.raises(InputError, match=message):
        check_all_records(data)
    assert re.search(message, str(find_fault(data.files, SPEC, 60, damage_too=False)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="value out of range"):
        stream = training_batches(data.files, SPEC, 2, seed=1, shuffle_buffer_size=8, vocab_size=60)
        for _ in zip(range(data.files.num_records // 2), stream.as_numpy_iterator(), strict=False):
            pass


def flip_byte_of_third(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 5 // 8] ^= 1
    path.write_bytes(data)


def cut_third(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 5 // 8])


@pytest.mark.parametrize("damage", [flip_byte_of_third, cut_third])
def test_damage_is_named_with_shard_and_record(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write_shards(tmp_path, [4, 4])
    bad = sorted(tmp_path.glob("*.tfrecord"))[1]
    dataset = open_dataset(f"{tmp_path}/*.tfrecord", SPEC, CONFIG)
    assert name_damage(dataset.files) is None
    damage(bad)
    with pytest.raises(InputError, match=f"{bad.name}: record 2: damaged"):
        open_dataset(f"{tmp_path}/*.tfrecord", SPEC, CONFIG)
    assert f"{bad.name}: record 2: damaged" in str(name_damage(dataset.files))


def test_a_shard_that_ends_between_two_records(tmp_path: Path) -> None:
    write_shards(tmp_path / "long", [9])
    write_shards(tmp_path / "short", [5])
    (long,), (short,) = (tmp_path / "long").glob("*.tfrecord"), (tmp_path / "short").glob("*.tfrecord")
    sizes = long.stat().st_size, short.stat().st_size
    long.write_bytes(short.read_bytes())
    with pytest.raises(InputError, match=rf"{long.name}: found {sizes[1]} bytes, expected {sizes[0]} as in dataset"):
        open_dataset(str(long), SPEC, CONFIG)


def test_several_folders_are_checked_each(tmp_path: Path) -> None:
    write_shards(tmp_path / "a", [3])
    write_shards(tmp_path / "b", [2, 4])
    write_shards(tmp_path / "c", [2], vocab_size=61)
    both = f"{tmp_path}/a/*.tfrecord,{tmp_path}/b/*.tfrecord"
    assert open_dataset(both, SPEC, CONFIG).files.records == (3, 2, 4)
    assert open_dataset(both, SPEC, CONFIG).vocab_sha256 == "0" * 64 and recorded_spec(both) == SPEC
    with pytest.raises(InputError, match=r"c/dataset\.json: vocabulary of 61 tokens"):
        open_dataset(f"{both},{tmp_path}/c/*.tfrecord", SPEC, CONFIG)
    info = json.loads((tmp_path / "b/dataset.json").read_text())
    info["vocab"]["sha256"] = "1" * 64
    (tmp_path / "b/dataset.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="records of different vocabularies"):
        open_dataset(both, SPEC, CONFIG)
    (tmp_path / "b/dataset.json").write_text("[]")
    with pytest.raises(InputError, match=r"b/dataset\.json: found list, expected a JSON object"):
        open_dataset(both, SPEC, CONFIG)


def test_records_and_dataset_json_in_a_bucket(tmp_path: Path) -> None:
    """ram:// stands for gs://: a file system that Python's own functions do not know."""
    write_shards(tmp_path, [3, 2])
    for path in tmp_path.iterdir():
        tf.io.gfile.makedirs("ram://bucket/records")
        with tf.io.gfile.GFile(f"ram://bucket/records/{path.name}", "wb") as file:
            file.write(path.read_bytes())
    dataset = open_dataset("ram://bucket/records/*.tfrecord", SPEC, CONFIG)
    assert dataset.files.records == (3, 2) and dataset.vocab_sha256 == "0" * 64
    with tf.io.gfile.GFile("ram://bucket/vocab.txt", "wb") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"ram://bucket/vocab.txt: sha256 2d711642"):
        open_dataset("ram://bucket/records/*.tfrecord", SPEC, CONFIG, "ram://bucket/vocab.txt")


@pytest.mark.parametrize(("place", "questions"), [("", 2), ("ram://", 0)])
def test_shards_are_listed_once_and_hardly_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, questions: int
) -> None:
    """On another file system, as gs:// is one, each call is a question over the network."""
    write_shards(tmp_path, [1] * 40)
    folder = f"{place}{tmp_path}"
    if place:
        tf.io.gfile.makedirs(folder)
        for path in tmp_path.iterdir():
            tf.io.gfile.copy(str(path), f"{folder}/{path.name}")
    asked: Counter[str] = Counter()
    listed = []
    for name in ("stat", "isdir", "exists", "GFile"):
        call = getattr(tf.io.gfile, name)
        monkeypatch.setattr(tf.io.gfile, name, lambda path, *args, call=call: asked.update([path]) or call(path, *args))
    matching = record_files._matching
    monkeypatch.setattr(record_files, "_matching", lambda pattern: listed.append(pattern) or matching(pattern))
    patterns = f"{folder}/*.tfrecord"
    assert recorded_spec(patterns) and open_dataset(patterns, SPEC, CONFIG).files.num_records == 40
    shards = [count for path, count in asked.items() if path.endswith(".tfrecord") and "*" not in path]
    assert shards == [questions] * 40 * bool(questions) and len(listed) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (
            b"not a record file at all",
            r"r: record 0: damaged, or not a TFRecord file: corrupted record at 0 \(Is [^\n]*$",
        ),
    ],
)
def test_files_that_are_no_records(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_dataset(str(tmp_path / "r"), SPEC, CONFIG)


def test_nothing_to_open(tmp_path: Path) -> None:
    for pattern, message in (
        (f"{tmp_path}/*.none", "no file matches"),
        (" , ", "no file pattern"),
        (str(tmp_path), "folder"),
    ):
        with pytest.raises(InputError, match=message):
            open_dataset(pattern, SPEC, CONFIG)
    write_records(tmp_path / "r", [b"no example"])
    with pytest.raises(InputError, match=r"record 0: not a tf\.train\.Example"):
        open_dataset(str(tmp_path / "r"), SPEC, CONFIG)
