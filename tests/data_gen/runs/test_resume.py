"""A run that goes on is the run that was begun: other input is refused, what was damaged is made again."""

import os
import shutil
from pathlib import Path

import pytest

from data_gen.runs import jobs
from data_gen.runs.pipeline import run
from data_gen.runs.workers import WorkerError
from kosplinter_common.cli import InputError
from kosplinter_common.records.dataset_info import DatasetInfo
from tests.data_gen.small_corpus import config_for, files_of, run_over, write_corpus, write_vocabulary

HERE = Path()  # files are told apart by their paths: relative ones stay the same in a copy
NUM_SHARDS, SHARDS_DONE = 20, 6


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A corpus of three files, the records of an undisturbed run in "whole", and in "out" a run that was stopped among
    its shards.
    """
    folder = tmp_path_factory.mktemp("stopped")
    gather = jobs.ShardJob.__call__

    def stop_in_the_middle(job):
        if job.number == SHARDS_DONE:
            raise OSError("stopped")
        return gather(job)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_vocabulary(HERE / "vocab")
        for number, name in enumerate("abc"):
            write_corpus(HERE / f"{name}.txt", 30, seed=number)
        run_over(HERE, "whole", num_shards=NUM_SHARDS)
        patch.setattr(jobs.ShardJob, "__call__", stop_in_the_middle)
        with pytest.raises(WorkerError, match="stopped"):
            run(config_for(HERE, num_shards=NUM_SHARDS))
    assert len(list((folder / "out").glob("*.tfrecord"))) == SHARDS_DONE
    return folder


@pytest.fixture
def folder(stopped, tmp_path, monkeypatch):
    """The same, for one test alone, as the current folder; the files keep their times."""
    monkeypatch.chdir(shutil.copytree(stopped, tmp_path / "copy"))
    return HERE


def goes_on(folder, **options):
    """Whether the run ends with the files of the undisturbed one, and nothing else."""
    run_over(folder, num_shards=NUM_SHARDS, **options)
    leftover = {path.name for path in (folder / "out").iterdir()} ^ {path.name for path in (folder / "whole").iterdir()}
    infos = [DatasetInfo.load(folder / name) for name in ("out", "whole")]
    return not leftover and infos[0] == infos[1] and files_of(folder / "out") == files_of(folder / "whole")


def is_refused(folder, match, **options):
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=match) as refusal:
        run(config_for(folder, **({"num_shards": NUM_SHARDS} | options)))
    assert "\n" not in str(refusal.value)
    return before == {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}


def test_the_same_run_goes_on_from_where_it_was(folder, monkeypatch):
    monkeypatch.setattr(jobs, "read_unit", lambda *_: pytest.fail("nothing is read again"))
    done = {path: path.stat().st_mtime_ns for path in (folder / "out").glob("*.tfrecord")}
    assert goes_on(folder)
    assert done == {path: path.stat().st_mtime_ns for path in done}


@pytest.mark.parametrize("name", ["0.txt", "bb.txt", "z.txt"])
def test_one_more_file_is_refused(folder, name):
    write_corpus(folder / name, 3)
    assert is_refused(folder, rf"--input_file: {name}: a file more than when the run was begun \(3 files\)")


def test_one_file_less_is_refused(folder):
    (folder / "b.txt").unlink()
    assert is_refused(folder, r"--input_file: b\.txt: not found, but it was among the input")


def test_an_edit_that_keeps_size_and_time_is_refused(folder):
    path = folder / "b.txt"
    times, content = path.stat(), path.read_bytes()
    path.write_bytes(content.replace("있다".encode(), "간다".encode(), 1))
    assert len(content) == path.stat().st_size and content != path.read_bytes()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert is_refused(
        folder, rf"--input_file: b\.txt: found other content \({len(content)} bytes, before {len(content)}"
    )


def test_another_time_of_the_same_content_is_none(folder):
    os.utime(folder / "b.txt", (1, 1))
    assert goes_on(folder)


def test_content_of_a_finished_run_is_compared_too(folder):
    assert goes_on(folder)
    write_corpus(folder / "c.txt", 31, seed=2)
    assert is_refused(folder, r"c\.txt: found other content")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_shards": 8}, "num_shards: .* begun with 20, found 8"),
        ({"dupe_factor": 2}, "generation: .*dupe_factor=3.*found .*dupe_factor=2"),
        ({"stopwords": frozenset({"서울"})}, "stopwords: "),
        ({"unit_bytes": 3000}, "unit_bytes: .* begun with 2000, found 3000"),
        ({"do_lower_case": True}, "do_lower_case: "),
        ({"exclude_ngrams": ("vocab",)}, "exclude_ngrams: "),
    ],
)
def test_other_settings_are_refused(folder, options, match):
    assert is_refused(folder, match, **options)


def test_another_vocabulary_is_refused(folder):
    with open(folder / "vocab", "a") as file:
        file.write("더\n")
    assert is_refused(folder, "vocab_file: ")


def some(folder, pattern):
    return sorted((folder / "out" / "work").glob(pattern))[-1]


@pytest.mark.parametrize("pattern", ["*.records", "*.ngrams"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b"\1" + path.read_bytes()[1:]),
        lambda path: path.unlink(),
    ],
    ids=["emptied", "cut off", "a byte changed", "gone"],
)
def test_a_damaged_spill_is_made_again(folder, caplog, pattern, damage):
    damage(some(folder, pattern))
    assert goes_on(folder)
    assert "is done again: its files are missing or damaged" in caplog.text


def test_a_damaged_shard_is_made_again_out_of_spills_that_are_made_again(folder):
    for number in (0, 3):
        path = folder / "out" / f"pretraining-{number:05d}-of-00020.tfrecord"
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert goes_on(folder)


def test_spills_are_deleted_as_their_shards_are_written(stopped):
    """Six of 20 shards are written, so the first two eighths of the keys are not needed any more."""
    groups = {path.stem.split("-")[-1] for path in (stopped / "out" / "work").glob("*.records")}
    assert groups == set("234567")


def test_ngrams_are_whole_where_the_buffer_is_another_one(folder, monkeypatch):
    """Merged in one part at first, in several when the run goes on, which is killed and goes on with one again."""

    def stop(*_):
        raise OSError("stopped")

    with monkeypatch.context() as patch, pytest.raises(WorkerError, match="stopped"):
        patch.setattr(jobs, "merge_ngrams", stop)
        run(config_for(folder, num_shards=NUM_SHARDS, buffer_bytes=3000))
    merge = jobs.merge_ngrams
    with monkeypatch.context() as patch, pytest.raises(WorkerError, match="stopped"):
        patch.setattr(jobs, "merge_ngrams", lambda *job: stop() if job[1].low else merge(*job))
        run(config_for(folder, num_shards=NUM_SHARDS, buffer_bytes=3000))
    assert goes_on(folder)


@pytest.mark.parametrize(("documents", "read_again"), [(30, {"b"}), (45, {"b", "c"})])
def test_a_file_whose_records_are_not_made_yet_may_be_replaced(folder, monkeypatch, documents, read_again):
    """As a damaged archive is: what was made of the others stays, but for what stands elsewhere in the corpus now."""

    def stop(*_):
        raise OSError("stopped")

    with monkeypatch.context() as patch, pytest.raises(WorkerError, match="stopped"):
        patch.setattr(jobs, "frame", stop)
        run(config_for(folder, "later"))
    journal = folder / "later" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"paths": ["b.txt"]' not in line))
    if documents == 30:  # other words in the same units
        (folder / "b.txt").write_text((folder / "b.txt").read_text().replace("있다", "간다"))
    else:
        write_corpus(folder / "b.txt", documents, seed=7)
    read_unit = jobs.read_unit

    def read_and_note(unit, *rest):
        with open(folder / "read", "a") as file:
            file.write(f"{unit.path[0]}\n")
        return read_unit(unit, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "read_unit", read_and_note)
        files = run_over(folder, "later")
    assert set((folder / "read").read_text().split()) == read_again
    assert files == run_over(folder, "anew")


def test_a_folder_of_an_earlier_version_is_refused(folder):
    journal = folder / "out" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"job": "plan"' not in line))
    assert is_refused(folder, "begun by an earlier version of this program")
