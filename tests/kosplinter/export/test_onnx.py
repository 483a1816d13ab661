"""Exported models: equal to PyTorch's, run without it, 8 bits measured, folders that are none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kosplinter import InputError, QuestionAnswerer
from kosplinter.__main__ import main
from kosplinter.export import exporting
from tests.finetuning.tiny_qa import CITIES, PEOPLE
from tests.kosplinter.conftest import USE

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")

ROOT = Path(__file__).resolve().parents[3]
TEXTS = [f"{PEOPLE[i]}은 {CITIES[i]}에서 태어났다. " + "날마다 강가를 걷는다. " * i for i in range(8)]


@pytest.fixture(scope="module")
def exported(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model that knows the pattern, whole and in 8 bits."""
    folder = tmp_path_factory.mktemp("onnx")
    main(f"export --model {taught} --output_dir {folder}/whole".split())
    QuestionAnswerer.from_pretrained(taught).export_onnx(folder / "int8", int8=True)
    return folder


def test_answers_are_pytorchs(taught: Path, exported: Path, models: Path) -> None:
    torch_qa, onnx_qa = (
        QuestionAnswerer.from_pretrained(taught),
        QuestionAnswerer.from_onnx(exported / "whole", threads=1),
    )
    for question in ("누가 태어났는가?", "어디에서 태어났는가?"):
        expected, found = (qa.answer(question, TEXTS, top_k=20) for qa in (torch_qa, onnx_qa))
        for mine, theirs in zip(found, expected, strict=True):
            assert (mine.text, mine.start, mine.end, mine.document) == (
                theirs.text,
                theirs.start,
                theirs.end,
                theirs.document,
            )
            assert mine.score == pytest.approx(theirs.score, abs=1e-4)
            assert mine.probability == pytest.approx(theirs.probability, abs=1e-4)
    questions = models / "questions.json"
    assert onnx_qa.evaluate(questions) == torch_qa.evaluate(questions)


def test_a_model_without_qass_is_exported_too(models: Path, tmp_path: Path) -> None:
    """One token type, positions behind the padding id: what RoBERTa computes from its input."""
    torch_qa = QuestionAnswerer.from_pretrained(models / "roberta", **USE, null_score_diff_threshold=0.5)
    assert torch_qa.export_onnx(tmp_path / "onnx")["largest_difference"] < 1e-4
    onnx_qa = QuestionAnswerer.from_onnx(tmp_path / "onnx", threads=1)
    for text in TEXTS:
        expected, found = (qa.answer("누가 태어났는가?", text, top_k=3) for qa in (torch_qa, onnx_qa))
        assert [answer.text for answer in found] == [answer.text for answer in expected]
        assert [a.score for a in found] == pytest.approx([a.score for a in expected], abs=1e-4)


def test_eight_bits_are_smaller_and_answer_nearly_alike(exported: Path, models: Path) -> None:
    whole, small = (exported / name / "model.onnx" for name in ("whole", "int8"))
    assert small.stat().st_size < whole.stat().st_size
    scores = [
        QuestionAnswerer.from_onnx(path.parent, threads=1).evaluate(models / "questions.json")
        for path in (whole, small)
    ]
    assert scores[1]["korquad_f1"] > scores[0]["korquad_f1"] - 10


def test_neither_torch_nor_transformers_is_needed(exported: Path) -> None:
    code = """
import sys
sys.modules.update(torch=None, transformers=None, tensorflow=None, onnx=None)
from kosplinter.__main__ import main
main(["answer", "--onnx", sys.argv[1], "--threads", "1"])
"""
    line = json.dumps({"id": "a", "question": "누가 태어났는가?", "documents": TEXTS[:2]})
    result = subprocess.run(
        [sys.executable, "-c", code, str(exported / "whole")],
        cwd=ROOT,
        env=os.environ,
        input=line,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["answers"][0]["text"][:3] in (PEOPLE[0], PEOPLE[1])


def test_a_calibrated_model_stays_calibrated(models: Path, taught: Path, tmp_path: Path, exported: Path) -> None:
    shutil.copytree(exported / "whole", tmp_path / "onnx")
    settings = json.loads((tmp_path / "onnx" / "kosplinter.json").read_text(encoding="utf-8"))
    assert settings["calibration"] is None and settings["use"]["max_seq_length"] == 48
    noted = {"temperature": 2.0, "min_probability": 1.0, "target": 0.9, "questions": 50}
    (tmp_path / "onnx" / "kosplinter.json").write_text(json.dumps(settings | {"calibration": noted}), encoding="utf-8")
    assert QuestionAnswerer.from_onnx(tmp_path / "onnx").answer("누가 태어났는가?", TEXTS[0]) is None


def test_what_cannot_be_loaded_or_done_says_why(
    models: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"found no model.onnx, expected the folder that `kosplinter export` wrote"):
        QuestionAnswerer.from_onnx(models / "qass")
    for name, content, message in (
        ("kosplinter.json", b"{}", "format: found None"),
        ("kosplinter.json", b'{"format": 1}', "not what an export writes"),
        ("tokenizer.json", b"{}", "no tokenizer"),
        ("model.onnx", b"onnx", "onnxruntime cannot load it"),
    ):
        shutil.rmtree(tmp_path / "broken", ignore_errors=True)
        shutil.copytree(exported / "whole", tmp_path / "broken")
        (tmp_path / "broken" / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            QuestionAnswerer.from_onnx(tmp_path / "broken")
    qa = QuestionAnswerer.from_onnx(exported / "whole")
    for call in (lambda: qa.fit("x"), lambda: qa.save_pretrained("x"), lambda: qa.export_onnx("x")):
        with pytest.raises(InputError, match="runs by ONNX, expected one from from_pretrained"):
            call()
    with pytest.raises(InputError, match="--max_seq_length: an exported model keeps its own"):
        main(f"evaluate --onnx {exported}/whole --max_seq_length 9 --questions x".split())
    monkeypatch.setattr(exporting, "_export", lambda model, template, path: path.write_bytes(b"x"))
    monkeypatch.setattr(exporting, "_largest_difference", lambda *_: 0.01)
    with pytest.raises(InputError, match=r"logits differ by 0\.01"):
        QuestionAnswerer.from_pretrained(models / "bert", **USE).export_onnx(tmp_path / "wrong")
    assert not list((tmp_path / "wrong").iterdir())
