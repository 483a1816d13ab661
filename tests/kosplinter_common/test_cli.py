"""One line for a user's mistake, a traceback for ours; globs that name files once, in order."""

from pathlib import Path

import pytest

from kosplinter_common.cli import InputError, exit_with_one_line, expand_globs


@pytest.mark.parametrize(
    "error", [InputError("a: found 1,\n  expected 2"), FileNotFoundError("a: found 1, expected 2")]
)
def test_a_users_mistake_is_one_line(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as stopped:
        exit_with_one_line(fail)
    assert stopped.value.code == "error: a: found 1, expected 2"  # a string: printed, and status 1


def test_our_mistakes_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_with_one_line(lambda: 1 / 0)


def test_globs_are_sorted_and_name_a_file_once(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.json"):
        (tmp_path / name).touch()
    found = expand_globs(f"{tmp_path}/*.txt, {tmp_path}/a.*,{tmp_path}/c.json")
    assert [Path(path).name for path in found] == ["a.txt", "b.txt", "c.json"]


@pytest.mark.parametrize("patterns", ["", " , "])
def test_no_pattern_is_refused(patterns: str) -> None:
    with pytest.raises(InputError, match="no file pattern given"):
        expand_globs(patterns)


def test_a_pattern_without_files_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file matches '.*none\*'"):
        expand_globs(f"{tmp_path}/none*")
