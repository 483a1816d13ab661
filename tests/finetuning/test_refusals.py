"""What ends the commands of fine-tuning without a traceback: programs in pickles, files of others, an end of input."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from finetuning import evaluate
from finetuning.conversion.model_card import find_provenance
from finetuning.qa.identity import check_output_of_evaluation, check_same_run
from finetuning.qa.model import load_qa_model
from finetuning.qa.settings import ModelSettings
from finetuning.qa.usage import usage_of
from kosplinter_common.cli import InputError
from kosplinter_common.files import refusing_code
from tests.finetuning.test_run_qa import run
from tests.finetuning.tiny_qa import bert_folder, qass_folder, question_file

ROOT = Path(__file__).resolve().parents[2]


class Program:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("make", [bert_folder, qass_folder])
def test_a_model_whose_pickle_holds_a_program_is_refused_in_one_line(tmp_path: Path, make: Any) -> None:
    folder = make(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Program()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model: refused: found the program posix.system, expected tensors") as error:
        load_qa_model(ModelSettings(model_name_or_path=str(folder)), 64)
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


@pytest.mark.parametrize("flag", ["--report_to wandb", "--optim adamw_bnb_8bit"])
def test_a_package_that_a_flag_needs_is_asked_for_before_anything_is_written(tmp_path: Path, flag: str) -> None:
    model, questions = qass_folder(tmp_path / "model"), question_file(tmp_path / "questions.json", last=2)
    with pytest.raises(InputError, match=r"(?i)wandb|bitsandbytes"):
        run(
            f"--model_name_or_path {model} --do_train --train_file {questions} --output_dir {tmp_path}/out "
            f"--max_seq_length 48 --max_steps 1 --disable_tqdm True {flag}"
        )
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_whose_pickle_holds_a_program_is_named(tmp_path: Path) -> None:
    torch.save(Program(), tmp_path / "optimizer.pt")
    with pytest.raises(InputError, match=f"{tmp_path}: refused"), refusing_code(tmp_path):
        torch.load(tmp_path / "optimizer.pt", weights_only=True)
    with pytest.raises(InputError, match="no pickle of tensors"), refusing_code("x"):
        raise pickle.UnpicklingError("two\nlines")


ELSEWHERE = [
    '["a list"]',
    "{",
    '"text"',
    '{"fixed": []}',
    '{"max_seq_length": "long"}',
    '{"hide_sep": 1}',
    "\ufeffnull",
]


@pytest.mark.parametrize("content", ELSEWHERE)
def test_a_run_json_from_elsewhere_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"holds another run|run\.json"):
        check_same_run(tmp_path, {"seed": 42})
    if "fixed" not in content:
        with pytest.raises(InputError, match=r"run\.json"):
            usage_of(str(tmp_path))
    assert find_provenance(tmp_path).dataset == {}


def test_flags_of_another_kind_in_a_run_json_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"flags": ["--x"]}')
    assert find_provenance(tmp_path).flags == {}


def test_scores_from_elsewhere_are_one_line(tmp_path: Path) -> None:
    from finetuning.qa.identity import RunSettings
    from finetuning.qa.settings import DataSettings, ScheduleSettings

    (tmp_path / "eval_results.json").write_text("[1]")
    settings = RunSettings(ModelSettings(model_name_or_path="m"), DataSettings(), ScheduleSettings())
    with pytest.raises(InputError, match=r"eval_results\.json: found list"):
        check_output_of_evaluation(tmp_path, settings)


@pytest.mark.parametrize("typed", ["누가 태어났는가?\n", "누가 태어났는가?", "누가 태어났는가?\n\n어디?\n"])
def test_interactive_json_keeps_the_prompt_off_stdout_and_ends_with_the_input(tmp_path: Path, typed: str) -> None:
    qass_folder(tmp_path / "model")
    (tmp_path / "context.txt").write_text("권도현은 대전에서 태어났다.", encoding="utf-8")
    command = [sys.executable, "finetuning/predict.py", f"--model={tmp_path}/model", "--interactive", "--json"]
    command += [f"--context_file={tmp_path}/context.txt"]
    done = subprocess.run(command, cwd=ROOT, input=typed, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "question (empty line ends): " in done.stderr
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == ["누가 태어났는가?"]


def test_data_and_predictions_may_come_in_either_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, predictions = question_file(tmp_path / "data.json"), tmp_path / "predictions.json"
    predictions.write_text(json.dumps({"0-who": "아무개"}), encoding="utf-8")
    printed = []
    for order in ((predictions, data), (data, predictions)):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, order)])
        evaluate.main()
        printed.append(capsys.readouterr())
    assert printed[0].out == printed[1].out and not printed[0].err
    assert printed[1].err == f"{predictions} holds the predictions: the two files are taken the other way round\n"
    monkeypatch.setattr(sys, "argv", ["evaluate.py", str(data), str(data)])
    with pytest.raises(InputError, match="expected a text"):
        evaluate.main()


def test_the_name_of_a_file_is_no_folder_to_convert_into() -> None:
    command = [sys.executable, "finetuning/convert_tf_to_pytorch.py", "--tf_checkpoint_path=x"]
    done = subprocess.run([*command, "--pytorch_dump_path=a/model.bin"], cwd=ROOT, capture_output=True, text=True)
    assert (
        done.returncode == 1 and done.stderr.startswith("error: --pytorch_dump_path: ") and done.stderr.count("\n") == 1
    )
