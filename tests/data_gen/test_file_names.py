"""The commands of data generation on files whose names look like patterns or are no UTF-8."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kosplinter_common.records.dataset_info import DatasetInfo
from tests.data_gen.small_corpus import write_corpus, write_vocabulary

ROOT = Path(__file__).resolve().parents[2]
CP949 = os.fsdecode("자료".encode("cp949"))


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="surrogateescape")


@pytest.mark.parametrize("folder", ["[원천] 1,2월", CP949])
def test_records_of_files_with_any_name(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    for seed, name in enumerate(("a,b.txt", f"[{CP949}].txt")):
        write_corpus(place / name, 10, seed)
    write_vocabulary(place / "vocab")
    made = run_command(
        "data_gen/create_pretraining_data.py",
        f"--input_file={place}/a,b.txt,{place}/[{CP949}].txt",
        f"--output_dir={place}/out[1]",
        f"--vocab_file={place}/vocab",
        *("--max_seq_length=64", "--num_processes=1", "--num_shards=1"),
    )
    assert made.returncode == 0 and "Traceback" not in made.stderr, made.stderr
    info = DatasetInfo.load(place / "out[1]")
    assert info.counts["documents"] == 20 and info.flags["input_file"].endswith(f"[{CP949}].txt")
    assert json.loads((place / "out[1]/journal.jsonl").read_text().splitlines()[0])
    for command in (["data_gen/verify_records.py"], ["data_gen/inspect_records.py", f"--html={tmp_path}/page.html"]):
        assert run_command(*command, f"{place}/out[1]").returncode == 0


def test_a_missing_file_of_such_a_name_is_one_line(tmp_path: Path) -> None:
    for flag in ("input_file", "vocab_file"):
        flags = {"input_file": ROOT / "sample/corpus/held_out.txt", "vocab_file": ROOT / "README.md"}
        flags[flag] = tmp_path / CP949
        refused = run_command(
            "data_gen/create_pretraining_data.py",
            *(f"--{name}={value}" for name, value in flags.items()),
            f"--output_dir={tmp_path}/out",
        )
        assert refused.returncode == 1 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
