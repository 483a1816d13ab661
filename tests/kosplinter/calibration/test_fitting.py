"""Calibration: on answers whose true probability is known, and on a model from end to end."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from finetuning.qa.questions import QAExample
from kosplinter import InputError, QuestionAnswerer
from kosplinter.calibration import fitting
from kosplinter.calibration.calibration import Calibration, noted_calibration
from kosplinter.calibration.curves import expected_calibration_error, risk_coverage, threshold_for
from kosplinter.calibration.fitting import BestAnswers, calibrate
from tests.kosplinter.conftest import USE

OVERCONFIDENT = 2.5  # the model's logits are so many times too large


class TrueProbabilities:
    """Questions answered rightly with a known probability, by a model that is too sure of itself."""

    def __init__(self, questions: int, articles: int, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.true = generator.beta(2, 1, questions)
        right = generator.random(questions) < self.true
        self.examples = [
            QAExample(
                str(i),
                "누가?",
                "",
                spans=((0, "예"),),
                golds=("예" if right[i] else "아니오",),
                article=str(i % articles),
            )
            for i in range(questions)
        ]

    def __call__(self, examples: Sequence[QAExample], temperatures: np.ndarray) -> BestAnswers:
        logits = OVERCONFIDENT * np.log(self.true / (1 - self.true))
        told = 1 / (1 + np.exp(-logits[:, None] / temperatures))
        return {example.id: ("예", told[int(example.id)]) for example in examples}


def test_the_temperature_is_found_and_nine_of_ten_are_right_on_other_articles() -> None:
    model = TrueProbabilities(questions=6000, articles=300)
    calibration, report = calibrate(model.examples, model, target=0.9)
    assert calibration.temperature == pytest.approx(OVERCONFIDENT, rel=0.15) and calibration.questions == 6000
    assert report["expected_calibration_error"] < 0.03 < report["expected_calibration_error_uncalibrated"]
    crossed = report["cross_validated"]
    assert crossed["precision"] == pytest.approx(0.9, abs=0.03) and 0.1 < crossed["coverage"] < 0.9
    risks = list(report["risk_at_coverage"].values())
    assert len(risks) == 10 and risks[0] < 0.1 < risks[-1] == pytest.approx(1 - report["right_percent"] / 100)
    low, high = crossed["precision_95"]
    assert low < crossed["precision"] < high < low + 0.06

    fresh = TrueProbabilities(questions=6000, articles=300, seed=1)
    probabilities = np.array([row for _, row in fresh(fresh.examples, np.array([calibration.temperature])).values()])[
        :, 0
    ]
    given = probabilities >= calibration.min_probability
    right = np.array([example.golds == ("예",) for example in fresh.examples])
    assert right[given].mean() == pytest.approx(0.9, abs=0.03)


def test_a_target_out_of_reach_leaves_everything_answered() -> None:
    model = TrueProbabilities(questions=40, articles=8)
    model.examples = [QAExample(e.id, e.question, "", (), ("아니오",), e.article) for e in model.examples]
    calibration, report = calibrate(model.examples, model, target=0.9)
    assert calibration.min_probability == 0 and calibration.target is None and report["min_probability"] is None
    assert report["cross_validated"]["precision"] is None and report["cross_validated"]["coverage"] == 0


def test_articles_are_held_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Articles of 1, 2, 4, … questions: the bits of a fold's size say how many articles lie in it."""
    model = TrueProbabilities(questions=255, articles=1)
    model.examples = [
        QAExample(e.id, e.question, "", (), e.golds, str((int(e.id) + 1).bit_length())) for e in model.examples
    ]
    sizes = []

    def record(probabilities: np.ndarray, right: np.ndarray, target: float) -> float | None:
        sizes.append(len(right))
        return threshold_for(probabilities, right, target)

    monkeypatch.setattr(fitting, "threshold_for", record)
    calibrate(model.examples, model, target=0.9)
    held_out = [255 - size for size in sizes if size < 255]
    assert sum(held_out) == 255 and sum(size.bit_count() for size in held_out) == 8 and len(held_out) == 5


def test_a_question_without_an_answer_is_never_answered_rightly() -> None:
    model = TrueProbabilities(questions=30, articles=3)
    model.examples = [QAExample(e.id, e.question, "", (), (), e.article) for e in model.examples]
    assert calibrate(model.examples, model, target=0.5)[1]["right_percent"] == 0


def test_risk_and_coverage_of_equal_probabilities_come_together() -> None:
    told, right = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, False, True, False])
    thresholds, coverage, risk = risk_coverage(told, right)
    assert thresholds.tolist() == [0.9, 0.5, 0.1] and coverage.tolist() == [0.25, 0.75, 1]
    assert np.allclose(risk, [0, 1 / 3, 1 / 2])
    assert threshold_for(told, right, 0.9) == pytest.approx(0.7) and threshold_for(told, right, 0.5) == pytest.approx(
        0.05
    )
    assert threshold_for(told, ~right, 0.9) is None
    assert expected_calibration_error(np.full(10, 0.8), np.arange(10) < 6, 1) == pytest.approx(0.2)


def test_a_model_keeps_its_calibration_and_goes_by_it(models: Path, taught: Path, tmp_path: Path) -> None:
    qa = QuestionAnswerer.from_pretrained(taught)
    report = qa.calibrate(models / "questions.json", target=0.9, picture=tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG") and report["questions"] == 32
    qa.save_pretrained(tmp_path / "calibrated")
    config = json.loads((tmp_path / "calibrated" / "config.json").read_text(encoding="utf-8"))
    assert config["calibration"]["temperature"] == report["temperature"]
    again = QuestionAnswerer.from_pretrained(tmp_path / "calibrated")
    text = "류현진은 부산에서 태어났다. 권도현은 대전에서 태어났다. 날마다 강가를 걷는다."
    before, after = (
        model.answer("누가 태어났는가?", text, min_probability=0)
        for model in (QuestionAnswerer.from_pretrained(taught), again)
    )
    assert before and after and before.text == after.text and before.score == pytest.approx(after.score)
    assert report["temperature"] == 1 or before.probability != after.probability
    config["calibration"] |= {"min_probability": after.probability + 1e-9}
    (tmp_path / "calibrated" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert QuestionAnswerer.from_pretrained(tmp_path / "calibrated").answer("누가 태어났는가?", text) is None


def test_learning_makes_a_calibration_void(models: Path, taught: Path, tmp_path: Path) -> None:
    qa = QuestionAnswerer.from_pretrained(taught)
    qa.calibrate(models / "questions.json")
    qa.save_pretrained(tmp_path / "calibrated")
    again = QuestionAnswerer.from_pretrained(tmp_path / "calibrated")
    assert again._engine.calibration.questions == 32
    again.fit(models / "questions.json", min_steps=1, max_steps=1, disable_tqdm=True)
    assert again._engine.calibration == Calibration()


def test_what_cannot_be_calibrated_says_why(models: Path, tmp_path: Path) -> None:
    qa = QuestionAnswerer.from_pretrained(models / "bert", **USE)
    row = {"question": "누가?", "context": "부산에서 태어났다.", "answer_text": "부산"}
    rows = [json.dumps(row | {"id": str(i)}, ensure_ascii=False) for i in range(19)]
    (tmp_path / "few.jsonl").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(InputError, match="found 19 questions with a told answer, expected 20"):
        qa.calibrate(tmp_path / "few.jsonl")
    with pytest.raises(InputError, match="target: found 2"):
        qa.calibrate(models / "questions.json", target=2)
    with pytest.raises(InputError, match=r"calibration: found .*expected"):
        noted_calibration({"calibration": {"heat": 3}})
