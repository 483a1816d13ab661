"""What the READMEs show first runs as it stands there."""

import re
from pathlib import Path

import pytest

from kosplinter import Answer
from tests.finetuning.tiny_qa import qass_folder, question_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_first_snippet_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qass_folder(tmp_path / "model")
    question_file(tmp_path / "questions.json", 0, 4)
    question_file(tmp_path / "dev.json", 4, 6)
    block = re.search(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert block
    monkeypatch.chdir(tmp_path)
    shown: list[object] = []
    lines = block[1].replace("qa.answer(", "show(qa.answer)(").replace("qa.evaluate(", "show(qa.evaluate)(")

    def show(function):  # type: ignore[no-untyped-def]
        return lambda *rest, **named: shown.append(function(*rest, **named))

    exec(lines, {"show": show})
    one, ranking, scores = shown
    assert isinstance(one, Answer) and one.text and isinstance(ranking, list) and len(ranking) == 3
    assert {answer.document for answer in ranking} <= {0, 1} and (tmp_path / "mine" / "config.json").is_file()
    assert isinstance(scores, dict) and scores["total"] == 4
    for written in re.search(r"Answer\((.*?)\)", block[1])[1].split(", "):  # type: ignore[index]
        assert hasattr(one, written)
