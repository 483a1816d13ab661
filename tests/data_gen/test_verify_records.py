"""Every way in which a folder may differ from its dataset.json is found and named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_gen.verify_records import verify_folder
from kosplinter_common.cli import InputError
from kosplinter_common.files import file_sha256
from tests.data_gen.small_corpus import run_over, write_corpus, write_vocabulary

SHARD = "pretraining-00001-of-00003.tfrecord"
SCRIPT = Path(__file__).resolve().parents[2] / "data_gen" / "verify_records.py"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    write_vocabulary(folder / "vocab")
    write_corpus(folder / "a.txt", 20)
    run_over(folder)
    return folder / "out"


@pytest.fixture
def folder(records, tmp_path):
    return Path(shutil.copytree(records, tmp_path / "records"))


def change_info(folder, change):
    """Rewrites dataset.json by `change`, which takes its values."""
    values = json.loads((folder / "dataset.json").read_text())
    change(values)
    (folder / "dataset.json").write_text(json.dumps(values))


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def test_what_was_written_is_as_it_says(folder):
    assert verify_folder(folder).counts["documents"] == 20
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=True)
    assert "are as dataset.json says" in done.stdout


def test_text_that_is_neither_used_nor_never_used_is_named(folder):
    change_info(folder, lambda values: values["counts"].update(text_tokens=values["counts"]["text_tokens"] + 1))
    with pytest.raises(InputError, match=r"records: text_tokens: found \d+, expected \d+"):
        verify_folder(folder)


def test_a_damaged_shard_is_named(folder):
    flip_a_bit(folder / SHARD)
    with pytest.raises(InputError, match=f"{SHARD}: sha256: found"):
        verify_folder(folder)
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "error:" in done.stderr and "Traceback" not in done.stderr


def test_damage_that_dataset_json_repeats_is_named(folder):
    flip_a_bit(folder / SHARD)

    def adopt(values):
        values["shards"][1]["sha256"] = file_sha256(folder / SHARD)

    change_info(folder, adopt)
    with pytest.raises(InputError, match=f"{SHARD}: record .*checksum"):
        verify_folder(folder)


def test_missing_and_additional_shards_are_named(folder):
    (folder / SHARD).rename(folder / "other.tfrecord")
    with pytest.raises(InputError, match=r"record files: found .*other\.tfrecord.*, expected .*00001-of-00003"):
        verify_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["counts"].update(questions=1), "questions: found .*, expected 1"),
        (lambda values: values["counts"].update(records=1), "records: found .*, expected 1"),
        (lambda values: values["shards"][1].update(records=1), f"{SHARD}: records: found .*, expected 1"),
        (lambda values: values["shards"][1].update(bytes=1), f"{SHARD}: bytes: found .*, expected 1"),
        (lambda values: values.update(max_seq_length=32), "input_ids: found 64 values of int64, expected 32"),
        (lambda values: values["vocab"].update(size=9), "found token id .*, expected below 9"),
    ],
)
def test_what_dataset_json_says_wrongly_is_named(folder, change, message):
    change_info(folder, change)
    with pytest.raises(InputError, match=message):
        verify_folder(folder)
