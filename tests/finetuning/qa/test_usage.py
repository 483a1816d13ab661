"""What a fine-tuned model notes of its own use, and who reads it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from finetuning import predict
from finetuning.flags import SETTINGS, make_parser, parse_settings
from finetuning.qa.settings import DataSettings, ModelSettings
from finetuning.qa.usage import USAGE_KEYS, note_usage, usage_of
from kosplinter_common.cli import InputError
from tests.finetuning.tiny_qa import qass_folder

NOTED = {
    "hide_sep": False,
    "max_seq_length": 100,
    "doc_stride": 50,
    "max_query_length": 20,
    "max_answer_length": 7,
    "null_score_diff_threshold": -1.5,
}


def noted_folder(path: Path, name: str = "config.json", values: dict[str, Any] = NOTED) -> str:
    path.mkdir(exist_ok=True)
    (path / name).write_text(json.dumps({"model_type": "qass"} | values))
    return str(path)


def settings_of(command: str) -> dict[str, Any]:
    model, data, _, _ = parse_settings(make_parser("run_qa.py", "", *SETTINGS), command.split())
    return {key: getattr(model if key == "hide_sep" else data, key) for key in USAGE_KEYS}


def test_a_model_keeps_what_it_was_trained_with(tmp_path: Path) -> None:
    from finetuning.modeling import ModelWithQASSHead

    model = ModelWithQASSHead.from_pretrained(qass_folder(tmp_path / "tiny"))
    data = DataSettings(
        **{key: value for key, value in NOTED.items() if key != "hide_sep"}  # type: ignore[arg-type]
    )
    note_usage(model.config, ModelSettings(hide_sep=False), data, learns_no_answer=True)
    model.save_pretrained(tmp_path / "saved")
    assert usage_of(str(tmp_path / "saved")) == NOTED
    assert usage_of(str(tmp_path / "tiny")) == {}


def test_run_qa_takes_it_where_no_flag_says_otherwise(tmp_path: Path) -> None:
    folder = noted_folder(tmp_path / "model")
    assert settings_of(f"--model_name_or_path {folder}") == NOTED
    assert settings_of(f"--model_name_or_path {folder} --doc_stride 20 --hide_sep=True") == NOTED | {
        "doc_stride": 20,
        "hide_sep": True,
    }
    defaults = {key: getattr(ModelSettings() if key == "hide_sep" else DataSettings(), key) for key in USAGE_KEYS}
    assert settings_of(f"--model_name_or_path {noted_folder(tmp_path / 'plain', values={})}") == defaults
    assert settings_of("") == defaults


def test_predict_takes_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = noted_folder(tmp_path / "model")
    command = f"predict.py --model {folder} --context_file text --question q"
    monkeypatch.setattr(sys, "argv", command.split())
    flags = predict.parse_flags()
    assert (flags.max_seq_length, flags.doc_stride, flags.max_answer_length) == (100, 50, 7)
    monkeypatch.setattr(sys, "argv", [*command.split(), "--max_seq_length=60"])
    assert predict.parse_flags().max_seq_length == 60


def test_an_older_folder_tells_it_in_run_json(tmp_path: Path) -> None:
    folder = noted_folder(tmp_path / "old", values={})
    noted_folder(tmp_path / "old", "run.json", {"hide_sep": False, "max_seq_length": 64, "doc_stride": 16, "seed": 1})
    assert usage_of(folder) == {"hide_sep": False, "max_seq_length": 64, "doc_stride": 16}
    noted_folder(tmp_path / "old")
    assert usage_of(folder) == NOTED  # config.json is the newer one


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json: broken JSON"):
        usage_of(str(tmp_path))
