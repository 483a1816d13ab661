"""Runs over files that cannot be read: they are named, end the run unless allowed, and cost no work but their own."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from data_gen.runs import jobs
from data_gen.runs.pipeline import run
from kosplinter_common.cli import InputError
from kosplinter_common.records.dataset_info import DatasetInfo
from tests.data_gen.small_corpus import config_for, documents, files_of, run_over, write_corpus, write_vocabulary

ROOT = Path(__file__).resolve().parents[3]


def text(count: int, seed: int) -> bytes:
    return "\n\n".join("\n".join(document) for document in documents(count, seed)).encode()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


SOUND = text(12, seed=3)
PACKED = gzip.compress(SOUND)
KINDS = {  # damaged, and sound; of one size, as the plan of a run that goes on asks for
    "gzip": (PACKED[:-8] + bytes(8), PACKED),
    "zip": (zipped({"m.txt": SOUND})[:-30] + bytes(30), zipped({"m.txt": SOUND})),
    "noise": (b"\xff\x00\xfe\x01" * 500 + b"7", b"7" * 2001),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_vocabulary(tmp_path / "vocab")
    write_corpus(tmp_path / "a.txt", 20, seed=1)
    write_corpus(tmp_path / "c.txt", 20, seed=2)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named_and_its_sound_copy_is_all_that_is_read_anew(corpus: Path, monkeypatch, kind: str):
    damaged, sound = KINDS[kind]
    (corpus / "b.txt").write_bytes(sound)
    whole = run_over(corpus, "whole")
    (corpus / "b.txt").write_bytes(damaged)
    with pytest.raises(InputError, match=r"1 files cannot be read: \S+/b\.txt: .*--allow_unreadable_files") as error:
        run(config_for(corpus))
    assert "\n" not in str(error.value)
    assert not (corpus / "out" / "dataset.json").exists() and not list((corpus / "out").glob("*.tfrecord"))
    (corpus / "b.txt").write_bytes(sound)
    read_unit = jobs.read_unit
    report = corpus / "read"

    def noting(unit, *rest):
        with open(report, "a") as file:  # the workers are processes
            file.write(unit.path + "\n")
        return read_unit(unit, *rest)

    monkeypatch.setattr(jobs, "read_unit", noting)
    assert run_over(corpus) == whole
    read = report.read_text().split()
    assert str(corpus / "b.txt") in read and str(corpus / "c.txt") not in read
    assert read.count(str(corpus / "a.txt")) <= 1  # of its many units, the one that shares a task with b.txt


def test_what_was_lost_may_be_allowed_and_is_told(corpus: Path):
    without = run_over(corpus, "without")
    (corpus / "d.txt").write_bytes(b"7z\xbc\xaf\x27\x1c\0\4" + bytes(99))
    (corpus / "e.txt").write_bytes(b"\n")
    with pytest.raises(InputError, match=r"d\.txt: a 7z archive: unpack it first"):
        run(config_for(corpus))
    assert run_over(corpus, allow_unreadable_files=True) == without
    info = DatasetInfo.load(corpus / "out")
    assert info.files == {
        "decoded": {},
        "unreadable": {str(corpus / "d.txt"): "a 7z archive: unpack it first"},
        "without_documents": {str(corpus / "e.txt"): "no text"},
    }
    assert info.skipped == {"unreadable file": 1}


@pytest.mark.parametrize(
    ("name", "content", "documents_of", "decoded"),
    [
        ("cp949.txt", SOUND.decode().encode("cp949"), 12, {"cp949": 1}),
        ("utf16.txt", SOUND.decode().encode("utf-16"), 12, {"utf-16": 1}),
        ("zip in zip", zipped({"in.zip": zipped({"m.txt": SOUND})}), 12, {}),
        ("tar of zips", tarred({"1.zip": zipped({"m": SOUND}), "2.zip": zipped({"m": SOUND})}), 24, {}),
        ("tar.gz of zips", gzip.compress(tarred({"1.zip": zipped({"m": SOUND})})), 12, {}),
    ],
)
def test_a_run_reads_what_aihub_delivers(corpus: Path, name: str, content: bytes, documents_of: int, decoded: dict):
    path = corpus / name
    path.write_bytes(content)
    info = run(config_for(corpus, input_files=(str(path),)))
    assert info.counts["documents"] == documents_of
    assert info.files == {"decoded": decoded, "unreadable": {}, "without_documents": {}}


def command(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    arguments = [
        sys.executable,
        str(ROOT / "data_gen" / "create_pretraining_data.py"),
        f"--input_file={folder}/*.txt",
        f"--output_dir={folder}/out",
        f"--vocab_file={folder}/vocab",
        "--max_seq_length=64",
        "--num_processes=1",
        *flags,
    ]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def test_the_command_ends_with_one_line_and_goes_on_when_allowed(corpus: Path):
    (corpus / "b.txt").write_bytes(PACKED[:-5])
    broken = {"data": [{"id": 1, "text": documents(1)[0][0]}]}
    (corpus / "f.txt").write_text(json.dumps(broken, ensure_ascii=False).replace("1", "(가)", 1))
    (corpus / "g.txt").write_bytes(b"")
    done = command(corpus)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error:") and done.stderr.count("error:") == 1
    assert f"{corpus}/b.txt: damaged, truncated or locked archive" in line and "--allow_unreadable_files" in line
    assert "Traceback" not in done.stderr
    done = command(corpus, "--allow_unreadable_files")
    assert done.returncode == 0, done.stderr
    assert f"files unreadable: 1: {corpus}/b.txt: damaged" in done.stdout
    assert f"files without documents: 1: {corpus}/g.txt: empty file" in done.stdout
    assert "'broken JSON': 1" in done.stdout and "'bytes unread in broken JSON': 5" in done.stdout
    dataset = json.loads((corpus / "out" / "dataset.json").read_text())
    assert list(dataset["files"]["unreadable"]) == [f"{corpus}/b.txt"]
    assert dataset["skipped"]["bytes unread in broken JSON"] == 5
    assert dataset["flags"]["allow_unreadable_files"] is True
    assert files_of(corpus / "out")
