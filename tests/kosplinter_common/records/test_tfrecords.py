"""Records against TensorFlow's own parser and reader, and against damage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosplinter_common.cli import InputError
from kosplinter_common.records.dataset_info import DatasetInfo, ShardInfo, VocabInfo
from kosplinter_common.records.examples import ExampleEncoder, RecordSpec, decode_example
from kosplinter_common.records.tfrecords import read_records, write_records

SPECS = [RecordSpec(16, 4, 0), RecordSpec(16, 0, 3), RecordSpec(300, 30, 80)]


def random_values(spec: RecordSpec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        name: rng.integers(0, 2 if kind == "float32" else 2 ** int(rng.integers(1, 40)), length).astype(kind)
        for name, (kind, length) in spec.features().items()
    }


@pytest.mark.parametrize("spec", SPECS)
def test_tensorflow_parses_what_we_write(tmp_path, spec):
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(1)
    records = [random_values(spec, rng) for _ in range(5)]
    write_records(tmp_path / "a.tfrecord", [ExampleEncoder(spec).encode(record) for record in records])
    schema = {name: tf.io.FixedLenFeature([length], kind) for name, (kind, length) in spec.features().items()}
    parsed = [tf.io.parse_single_example(raw, schema) for raw in tf.data.TFRecordDataset(str(tmp_path / "a.tfrecord"))]
    assert len(parsed) == len(records)
    for ours, theirs in zip(records, parsed, strict=True):
        for name in spec.features():
            np.testing.assert_array_equal(ours[name], theirs[name].numpy())


def test_we_parse_what_tensorflow_writes(tmp_path):
    tf = pytest.importorskip("tensorflow")
    spec = RecordSpec(8, 2, 0)
    values = random_values(spec, np.random.default_rng(2))
    features = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=values[name]))
        if kind == "float32"
        else tf.train.Feature(int64_list=tf.train.Int64List(value=values[name]))
        for name, (kind, _) in spec.features().items()
    }
    with tf.io.TFRecordWriter(str(tmp_path / "b.tfrecord")) as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    (record,) = read_records(tmp_path / "b.tfrecord", spec)
    for name in values:
        np.testing.assert_array_equal(record[name], values[name])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2**63 - 1), min_size=5, max_size=5))
def test_every_int64_survives(ids):
    spec = RecordSpec(5, 0, 0)
    payload = ExampleEncoder(spec).encode({"input_ids": np.array(ids, np.int64), "input_mask": np.ones(5)})
    assert decode_example(payload)["input_ids"].tolist() == ids


def one_record(path):
    spec = RecordSpec(16, 4, 0)
    write_records(path, [ExampleEncoder(spec).encode(random_values(spec, np.random.default_rng(3)))])
    return spec


@pytest.mark.parametrize(("position", "message"), [(0, "length"), (30, "data differs"), (-1, "data differs")])
def test_a_flipped_bit_is_named(tmp_path, position, message):
    path = tmp_path / "c.tfrecord"
    spec = one_record(path)
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=f"c.tfrecord: record 0.*{message}"):
        list(read_records(path, spec))


def test_a_cut_off_file_is_named(tmp_path):
    path = tmp_path / "d.tfrecord"
    spec = one_record(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"d.tfrecord: record 0: cut off"):
        list(read_records(path, spec))


@pytest.mark.parametrize(
    ("spec", "message"), [(RecordSpec(32, 4, 0), "input_ids: found 16 values.*expected 32"), (SPECS[1], "features")]
)
def test_other_lengths_are_named(tmp_path, spec, message):
    one_record(tmp_path / "e.tfrecord")
    with pytest.raises(InputError, match=message):
        list(read_records(tmp_path / "e.tfrecord", spec))


def example_info() -> DatasetInfo:
    return DatasetInfo(
        flags={"random_seed": 12345, "input_file": "한글.txt"},
        max_seq_length=16,
        max_questions_per_seq=4,
        max_predictions_per_seq=0,
        vocab=VocabInfo("vocab.txt", 100, "ab" * 32),
        counts={"documents": 3, "padding_rate": 0.25},
        skipped={"empty document": 1},
        shards=(ShardInfo("pretraining-00000-of-00001.tfrecord", 2, 300, "cd" * 32),),
    )


def test_dataset_info_survives_saving(tmp_path):
    example_info().save(tmp_path)
    assert DatasetInfo.load(tmp_path) == example_info()
    assert DatasetInfo.load(tmp_path).record_spec == RecordSpec(16, 4, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "broken JSON"),
        ("[]", "found list, expected a JSON object"),
        ("{}", "format_version: found None, expected 1"),
        ('{"format_version": 1}', "keys differ"),
    ],
)
def test_a_broken_dataset_json_is_named(tmp_path, text, message):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=rf"dataset\.json.*{message}"):
        DatasetInfo.load(tmp_path)


def test_a_missing_dataset_json_is_named(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json: not found, expected the record of a finished run"):
        DatasetInfo.load(tmp_path)
