"""Tasks: every unit once and in order, of about one size, whatever the files are; pieces too large for one worker."""

import gzip
import logging
import os
import zipfile
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_gen.corpora.reading import plan_units
from data_gen.runs import tasks as tasks_module
from data_gen.runs.pipeline import run
from data_gen.runs.tasks import large_pieces, plan_tasks
from kosplinter_common.cli import InputError
from tests.data_gen.small_corpus import config_for, write_corpus, write_vocabulary


def write_text(path, sizes):
    """A file of documents, each of about so many bytes."""
    path.write_text("\n\n".join("a" * size for size in sizes))
    return str(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.integers(1, 900), min_size=1, max_size=5), min_size=1, max_size=6), st.integers(50, 1500))
def test_every_unit_is_in_one_task_in_order(tmp_path, files, unit_bytes):
    paths = [write_text(tmp_path / f"{number}.txt", sizes) for number, sizes in enumerate(files)]
    units = plan_units(paths, "auto", unit_bytes)
    tasks = plan_tasks(paths, "auto", unit_bytes)
    assert [unit for task in tasks for unit in task.units] == units
    assert [task.first_unit for task in tasks] == [units.index(task.units[0]) for task in tasks]
    assert sum(task.num_bytes for task in tasks) == sum(map(os.path.getsize, paths))
    for task, following in pairwise(tasks):
        assert task.num_bytes <= unit_bytes or len(task.units) == 1
        first = following.units[0]
        size = first.end - first.start if first.end else os.path.getsize(first.path) - first.start
        assert task.num_bytes + size > unit_bytes  # it would not have fitted in


def test_members_share_the_size_of_their_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(6):
            archive.writestr(f"{number}.txt", "서울에 간다.\n" * 40)
    size = (tmp_path / "a.zip").stat().st_size
    tasks = plan_tasks([str(tmp_path / "a.zip")], "auto", 2 * (size // 6))
    assert [len(task.units) for task in tasks] == [2, 2, 2]
    assert [task.num_bytes for task in tasks] == [2 * (size // 6)] * 3


def test_a_large_corpus_has_about_so_many_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks_module, "_MAX_TASKS", 4)
    paths = [write_text(tmp_path / f"{number:02}.txt", [100]) for number in range(40)]
    assert [len(task.units) for task in plan_tasks(paths, "auto", 100)] == [10] * 4


def test_tasks_of_an_earlier_plan(tmp_path):
    paths = [write_text(tmp_path / f"{number}.txt", [100]) for number in range(4)]
    assert [task.first_unit for task in plan_tasks(paths, "auto", 250)] == [0, 2]
    write_text(tmp_path / "1.txt", [180])
    assert [task.first_unit for task in plan_tasks(paths, "auto", 250)] == [0, 1, 2]
    kept = plan_tasks(paths, "auto", 250, first_units=[0, 2])
    assert [(task.first_unit, len(task.units), task.num_bytes) for task in kept] == [(0, 2, 280), (2, 2, 200)]


def test_fingerprints_tell_places_apart(tmp_path):
    paths = [write_text(tmp_path / f"{number}.txt", [100]) for number in range(2)]
    first, second = plan_tasks(paths, "auto", 100)
    (alone,) = plan_tasks(paths[1:], "auto", 100)
    assert len({first.fingerprint, second.fingerprint, alone.fingerprint}) == 3
    assert plan_tasks(paths, "auto", 100)[1].fingerprint == second.fingerprint


@pytest.mark.parametrize("name", ["gone.txt", "."])
def test_what_is_no_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"input_file: .*: not found, or not a file"):
        plan_tasks([str(tmp_path / name)], "auto", 100)


def test_no_files_make_no_tasks():
    assert plan_tasks([], "auto", 100) == []


def pieces(path, num_processes=2, **options):
    return [
        task.units[0].path for task in large_pieces(plan_tasks([str(path)], "auto", 500, **options), 500, num_processes)
    ]


def test_large_pieces(tmp_path):
    """One document, JSON and what is compressed cannot be divided; documents by the line can."""
    lines = "\n".join(f"{number} 서울에 간다." for number in range(200))
    (tmp_path / "a.txt").write_text(lines)
    (tmp_path / "a.json").write_text('{"document": [{"paragraph": [{"form": "' + "서울 " * 1000 + '"}]}]}')
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(lines.encode(), 0))
    for name in ("a.txt", "a.json", "a.txt.gz"):
        assert pieces(tmp_path / name, 1) == pieces(tmp_path / name, 8) == [str(tmp_path / name)]
    assert pieces(tmp_path / "a.txt", document_per_line=True) == []
    (tmp_path / "b.txt").write_text(lines.replace("\n", "\n\n"))
    assert pieces(tmp_path / "b.txt") == []
    both = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    assert large_pieces(plan_tasks(both, "auto", 500), 500, 2) == []  # another worker has as much to do
    assert len(large_pieces(plan_tasks(both, "auto", 500), 500, 8)) == 1


def test_a_large_piece_is_said_before_the_run(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write_vocabulary(tmp_path / "vocab")
    write_corpus(tmp_path / "a.txt", 40)
    (tmp_path / "a.txt").write_text((tmp_path / "a.txt").read_text().replace("\n\n", "\n"))
    run(config_for(tmp_path))
    (said,) = [
        number for number, text in enumerate(caplog.messages) if "in one piece: one worker reads it alone" in text
    ]
    assert caplog.messages[said].startswith(f"{tmp_path}/a.txt: 0 MB")
    assert said < next(number for number, text in enumerate(caplog.messages) if "loading compiled code" in text)
