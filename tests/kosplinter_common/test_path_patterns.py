"""File names as real corpora have them: brackets, commas, decomposed Hangul, bytes of CP949, links, folders."""

import os
import unicodedata
from pathlib import Path

import pytest

from kosplinter_common.cli import InputError, expand_globs
from kosplinter_common.path_patterns import matching_paths, split_at_commas

NEWS = "[원천]뉴스.txt"
DECOMPOSED = unicodedata.normalize("NFD", "대화.txt")
CP949 = os.fsdecode("자료.txt".encode("cp949"))


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    in_folders = ("[라벨] 폴더/a.json", "안/깊은/b.txt")
    for name in (NEWS, "원.txt", "1,2월.txt", "3월.txt", DECOMPOSED, CP949, ".숨은.txt", *in_folders):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name.encode("utf-8", "replace").decode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (NEWS, [NEWS]),  # as a class of characters this would be 원뉴스.txt or 천뉴스.txt
        ("[원천]*.txt", [NEWS, "원.txt"]),  # both readings: a person who means one of them sees the other's name
        ("[라벨] 폴더/*.json", ["[라벨] 폴더/a.json"]),
        ("[라벨]*/*.json", ["[라벨] 폴더/a.json"]),
        ("1,2월.txt", ["1,2월.txt"]),
        ("3월.txt,1,2월.txt , 원.txt", ["1,2월.txt", "3월.txt", "원.txt"]),
        ("1,2*.txt,3월.txt", ["1,2월.txt", "3월.txt"]),
        ("대화.txt", [DECOMPOSED]),
        ("대*.txt", [DECOMPOSED]),
        ("대?.txt", [DECOMPOSED]),
        (unicodedata.normalize("NFD", "3월*"), ["3월.txt"]),
        (unicodedata.normalize("NFD", "안/깊은/*"), ["안/깊은/b.txt"]),
        ("자료.txt", [CP949]),
        ("자*.txt", [CP949]),
        (CP949, [CP949]),
        ("안/**", ["안/깊은/b.txt"]),
        ("**/b.txt", ["안/깊은/b.txt"]),
        ("**/원.txt", ["원.txt"]),
        (".숨*", [".숨은.txt"]),
    ],
)
def test_files_are_found_by_what_people_write(corpus: Path, patterns: str, expected: list[str]) -> None:
    assert expand_globs(patterns) == sorted(expected)


def test_absolute_and_relative_patterns_find_the_same(corpus: Path) -> None:
    assert [os.path.relpath(path) for path in expand_globs(f"{corpus}/**")] == expand_globs("**")
    assert len(expand_globs("**")) == 8  # all but the hidden one


def test_one_file_by_two_paths_is_read_once_and_said(corpus: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (corpus / "링크.txt").symlink_to("원.txt")
    (corpus / "모두").symlink_to("안")
    assert expand_globs("원.txt,./원.txt,링크.txt") == ["./원.txt"]
    said = capfd.readouterr().err
    assert "read once, though named twice: 링크.txt is ./원.txt, and 1 more like it" in said
    assert expand_globs("안/**,모두/**") == ["모두/깊은/b.txt"]


def test_links_that_lead_in_a_circle_end(corpus: Path) -> None:
    (corpus / "안/oben").symlink_to(corpus)
    assert "안/깊은/b.txt" in matching_paths("안/**")
    assert len(expand_globs("안/**")) == 8


def test_folders_are_passed_over_and_said(corpus: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(expand_globs("*")) == 6
    said = capfd.readouterr().err
    assert "*: passed over the folder [라벨] 폴더 and 1 more; ** in a pattern stands for folders" in said
    with pytest.raises(InputError, match="안: found a folder, expected files: try 안/\\*"):
        expand_globs("안")
    with pytest.raises(InputError, match="found a folder"):
        expand_globs("안/*")


@pytest.mark.parametrize("pattern", ["[원천]신문.txt", "4,5월.txt", "없음/**", "[라벨]/x"])
def test_what_is_not_there_is_named(corpus: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="no file matches"):
        expand_globs(f"원.txt,{pattern}")


def test_a_list_with_a_missing_name_is_not_searched_in_every_combination() -> None:
    asked: list[str] = []
    assert split_at_commas(",".join("abcdefghijklmnop"), lambda name: bool(asked.append(name))) == list(
        "abcdefghijklmnop"
    )
    assert max(name.count(",") for name in asked[1:]) == 8
