"""Model cards: their code, run as it stands, prints what run_qa.py predicts."""

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from finetuning import modeling, publish
from finetuning.conversion.to_torch import convert
from tests.finetuning.converted import config_for
from tests.finetuning.test_run_qa import run
from tests.finetuning.tiny_checkpoints import TinyCheckpoint
from tests.finetuning.tiny_qa import (
    bert_folder,
    electra_folder,
    klue_roberta_folder,
    qass_folder,
    question_file,
    splinter_folder,
)

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


def fine_tuned(
    tmp_path: Path, model: Path, flags: str = "", impossible: bool = False
) -> tuple[Path, list[dict[str, Any]]]:
    """A few steps on tiny_qa's questions, some without an answer, and the scores in the same folder."""
    questions = json.loads(question_file(tmp_path / "questions.json", last=4).read_text(encoding="utf-8"))
    rows = []
    for number, article in enumerate(questions["data"]):
        (paragraph,) = article["paragraphs"]
        paragraph["context"] *= 3  # several windows
        for question in paragraph["qas"]:
            question["is_impossible"] = impossible and number % 2 == 0
            rows.append(question | {"context": paragraph["context"]})
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    run(
        f"--model_name_or_path {model} --do_train --do_eval --train_file {tmp_path}/questions.json --disable_tqdm True "
        f"--predict_file {tmp_path}/questions.json --output_dir {tmp_path}/out --max_seq_length 40 --doc_stride 16 "
        f"--max_answer_length 7 --max_steps 3 --learning_rate 1e-3 --seed 5 {flags}"
    )
    return tmp_path / "out", rows


@pytest.mark.parametrize(
    ("make", "flags", "impossible"),
    [
        (qass_folder, "", False),
        (qass_folder, "--null_score_diff_threshold=2.07 --hide_sep=False", True),
        (splinter_folder, "", False),
        (bert_folder, "--null_score_diff_threshold=-0.24", True),
        (electra_folder, "", False),
        (klue_roberta_folder, "", False),
    ],
)
def test_the_code_of_a_fine_tuned_model_answers_as_run_qa(
    make: Callable[[Path], Path], flags: str, impossible: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rows = fine_tuned(tmp_path, make(tmp_path / "model"), flags, impossible)
    expected = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    assert answers_of_the_card(out, rows, monkeypatch) == expected
    assert len(set(expected.values())) > 1 and ("" in expected.values()) == impossible


def test_the_code_abstains_by_the_threshold_that_the_model_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a learning rate of 1e-9: the random model of the start, whose best threshold is not the default
    out, rows = fine_tuned(tmp_path, qass_folder(tmp_path / "model"), "--learning_rate 1e-9", impossible=True)
    results = run(
        f"--model_name_or_path {out} --do_eval --predict_file {tmp_path}/questions.json --output_dir {tmp_path}/eval "
        "--disable_tqdm True"
    )
    expected = json.loads((tmp_path / "eval" / "predictions.json").read_text(encoding="utf-8"))
    assert results["null_score_diff_threshold"] not in (0.0, None)
    assert answers_of_the_card(out, rows, monkeypatch) == expected
    assert len(set(expected.values())) > 1 and "" in expected.values()


def test_the_code_cuts_a_long_question_as_run_qa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, rows = fine_tuned(tmp_path, qass_folder(tmp_path / "model"), "--max_query_length 5")
    expected = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    assert answers_of_the_card(out, rows, monkeypatch) == expected
    space: dict[str, Any] = {}
    exec(code_of(out), space)
    uncut = {row["id"]: space["answer"](row["question"], row["context"], max_query_length=64) for row in rows}
    assert uncut != expected


def test_a_fine_tuned_folder_is_whole_and_published(
    tiny: dict[str, TinyCheckpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(config_for(tiny["own"], tmp_path / "model", license="cc-by-4.0"))
    out, _ = fine_tuned(tmp_path, tmp_path / "model", "--save_steps 1")
    assert (out / "modeling_qass.py").read_bytes() == Path(modeling.__file__).read_bytes()
    assert json.loads((out / "config.json").read_text())["auto_map"] == modeling.AUTO_MAP
    card, scores = (out / "README.md").read_text(encoding="utf-8"), json.loads((out / "eval_results.json").read_text())
    for line in (
        *("license: cc-by-4.0", "| train_file | questions.json |", "| predict_file | questions.json |", "| seed | 5 |"),
        *(f"| korquad_f1 | {scores['korquad_f1']} |", f"| versions.torch | {torch.__version__} |", "| steps | 3 |"),
        *("| hidden_size | 32 |", "| learning_rate | 0.001 |", "model, fine-tuned for extractive"),
    ):
        assert line in card
    assert str(tmp_path) not in card
    monkeypatch.setattr(sys, "argv", ["publish.py", f"--folder={out}", "--repo_id=me/model", "--dry_run"])
    capsys.readouterr()
    publish.main()
    listed = capsys.readouterr().out
    assert "modeling_qass.py" in listed and "model.safetensors" in listed
    assert "checkpoint-" not in listed and "predictions" not in listed and "question_results" not in listed
    run(
        f"--model_name_or_path {tmp_path}/model --qass_head=False --do_train --train_file {tmp_path}/questions.json "
        f"--output_dir {tmp_path}/linear --max_seq_length 40 --max_steps 1 --disable_tqdm True"
    )
    assert "auto_map" not in json.loads((tmp_path / "linear" / "config.json").read_text())
    assert "With `finetuning/predict.py`" in (tmp_path / "linear" / "README.md").read_text(encoding="utf-8")
