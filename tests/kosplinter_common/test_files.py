"""Output appears whole or not at all, and what stood there before survives a failure."""

import os
from pathlib import Path

import pytest

from kosplinter_common.cli import InputError
from kosplinter_common.files import atomic_directory, atomic_file, read_json_object


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with atomic_file(target) as partial:
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole" and list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("first", "second"):
        with atomic_directory(target) as partial:
            (partial / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["second"] and list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError), atomic_directory(target) as partial:
        (partial / "new").touch()
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "not found, expected a config"), ("{", "broken JSON"), ("[1]", "found list, expected a JSON object")],
)
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"config.json: {message}"):
        read_json_object(path, "a config")
    path.write_text('{"한": 1}')
    assert read_json_object(path, "a config") == {"한": 1}


def test_a_durable_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file.txt"
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append((os.readlink(f"/proc/self/fd/{file}"), target.exists()))
    )
    with atomic_file(target) as partial:
        partial.write_text("x")
    assert synced == []
    target.unlink()
    with atomic_file(target, durable=True) as partial:
        partial.write_text("x")
    (file, existed), (folder, exists) = synced
    assert (Path(file).suffix, existed) == (".partial", False) and (Path(folder), exists) == (tmp_path, True)
