"""Training arguments that keep or resume a model, in whole runs."""

import json
from pathlib import Path

import pytest

from kosplinter_common.cli import InputError
from tests.finetuning.test_run_qa import LEARN, run
from tests.finetuning.tiny_qa import qass_folder, question_file


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("best")
    qass_folder(folder / "model")
    question_file(folder / "questions.json")
    return (
        f"--model_name_or_path {folder}/model --train_file {folder}/questions.json --predict_file "
        f"{folder}/questions.json --do_train --do_eval {LEARN} --min_steps 0 --num_train_epochs 3 --report_to none"
    )


def test_load_best_model_at_end_with_an_evaluation_each_epoch(command: str, tmp_path: Path) -> None:
    results = run(f"{command} --output_dir {tmp_path} --load_best_model_at_end --eval_strategy epoch")
    scores = [epoch["eval_korquad_f1"] for epoch in results["epochs"]]
    assert len(scores) == 3 and results["korquad_f1"] == pytest.approx(max(scores))
    assert json.loads((tmp_path / "run.json").read_text())["best_model"]["metric_for_best_model"] == "eval_korquad_f1"


def test_resume_from_checkpoint_takes_the_one_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"{command} --output_dir {tmp_path} --save_strategy epoch --save_total_limit 3")
    first, *_ = sorted(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    (tmp_path / "train_results.json").unlink()
    run(f"{command} --output_dir {tmp_path} --save_strategy epoch --resume_from_checkpoint {first}")
    assert f"going on from {first}\n" in capsys.readouterr().err
    with pytest.raises(InputError, match="not a checkpoint"):
        run(f"{command} --output_dir {tmp_path} --resume_from_checkpoint {tmp_path}/checkpoint-999")
