"""Model cards: their code, run as it stands, prints what run_qa.py predicts."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from finetuning.conversion.to_torch import convert
from tests.finetuning.converted import config_for
from tests.finetuning.test_run_qa import run
from tests.finetuning.tiny_checkpoints import TinyCheckpoint

WORDS = ["이순신은", "누구인가?", "장군이다.", "조선의", "cafe", "장군", "이순신"]


def questions(path: Path, count: int = 6) -> list[dict[str, str]]:
    """Texts of several windows each, and some of one."""
    generator = random.Random(0)
    rows = []
    for i in range(count):
        context = " ".join(generator.choices(WORDS, k=8 if i == 0 else 60))
        question = " ".join(generator.choices(WORDS, k=1 + i % 3))
        rows.append({"id": str(i), "context": context, "question": question, "answer_text": "조선"})
    path.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def code_of(folder: Path) -> str:
    (code,) = re.findall(r"```python\n(.+?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return code


def answers_of_the_card(folder: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(folder.parent)
    space: dict[str, Any] = {}
    exec(code_of(folder), space)
    return {row["id"]: space["answer"](row["question"], row["context"]) for row in rows}


@pytest.mark.parametrize(
    ("dialect", "format"), [("kosplinter", "qass"), ("own", "splinter"), ("own", "splinter-remote")]
)
def test_the_code_of_a_converted_model_answers_as_run_qa(
    dialect: str,
    format: str,
    tiny: dict[str, TinyCheckpoint],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    convert(config_for(tiny[dialect], tmp_path / "model", format=format))
    rows = questions(tmp_path / "questions.json")
    run(
        f"--model_name_or_path {tmp_path}/model --do_eval --predict_file {tmp_path}/questions.json "
        f"--output_dir {tmp_path}/out --max_seq_length 40 --disable_tqdm True"
    )
    expected = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    capsys.readouterr()
    assert answers_of_the_card(tmp_path / "model", rows, monkeypatch) == expected
    assert len(set(expected.values())) > 3 and capsys.readouterr().out.strip()
