"""Publishing: a folder is checked and listed without a network."""

import sys
from pathlib import Path

import pytest

from finetuning.publish import NEEDED, files_to_publish, main
from kosplinter_common.cli import InputError, exit_with_one_line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NEEDED:
        (tmp_path / name).write_text("---\nlanguage: ko\nlicense: apache-2.0\n---\n", encoding="utf-8")
    return tmp_path


def test_dry_run_lists_and_sends_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.upload_folder", lambda **given: pytest.fail("sent"))
    monkeypatch.setattr("huggingface_hub.create_repo", lambda *given, **named: pytest.fail("created"))
    monkeypatch.setattr(sys, "argv", ["publish.py", f"--folder={folder}", "--repo_id=me/model", "--dry_run"])
    exit_with_one_line(main)
    listed = capsys.readouterr().out
    assert all(name in listed for name in NEEDED) and "5 files would go to me/model" in listed


def test_upload_sends_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("huggingface_hub.create_repo", lambda *given, **named: calls.append((given, named)))
    monkeypatch.setattr("huggingface_hub.upload_folder", lambda **named: calls.append(named))
    monkeypatch.setattr(sys, "argv", ["publish.py", f"--folder={folder}", "--repo_id=me/model", "--private"])
    exit_with_one_line(main)
    assert calls[0] == (("me/model",), {"private": True, "exist_ok": True})
    assert calls[1]["repo_id"] == "me/model" and calls[1]["folder_path"] == folder
    assert sorted(calls[1]["allow_patterns"]) == sorted(NEEDED)


def test_what_is_not_fit_to_publish_is_refused(folder: Path) -> None:
    assert [path.name for path in files_to_publish(folder, "me/model")] == sorted(NEEDED)
    with pytest.raises(InputError, match="--repo_id"):
        files_to_publish(folder, "me/my model")
    for name in (
        "checkpoint-3/optimizer.pt",
        "runs/a/events",
        "predictions.json",
        "question_results.jsonl",
        "run.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert [path.name for path in files_to_publish(folder, "me/model")] == sorted(NEEDED)  # a run's own files stay
    (folder / "old.bin").touch()
    with pytest.raises(InputError, match=r"found old\.bin"):
        files_to_publish(folder, "me/model")
    (folder / "old.bin").unlink()
    (folder / "README.md").write_text("---\nlicense: other\n---\n", encoding="utf-8")
    with pytest.raises(InputError, match="found 'other'"):
        files_to_publish(folder, "me/model")
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"found no config\.json"):
        files_to_publish(folder, "me/model")
