"""What a fine-tuned model was trained with and has to be used with: keys of its config.json."""

import json
from pathlib import Path
from typing import Any

from finetuning.qa.settings import DataSettings, ModelSettings
from kosplinter_common.cli import InputError

USAGE_KEYS = ("hide_sep", "max_seq_length", "doc_stride", "max_answer_length", "null_score_diff_threshold")
RUN_SETTINGS = "run.json"  # of the run that trained a model; in older folders the only place that tells


def usage_of(model: str) -> dict[str, Any]:
    """The values of USAGE_KEYS that a model folder or hub name tells; empty where none is noted."""
    folder = Path(model)
    if model and not folder.is_dir():
        noted = _hub_config(model)
    else:
        noted = _read(folder / RUN_SETTINGS) | _read(folder / "config.json") if model else {}
    return {key: noted[key] for key in USAGE_KEYS if noted.get(key) is not None}


def note_usage(config: Any, model: ModelSettings, data: DataSettings) -> None:
    """Sets the keys in the config of a model that is about to be trained."""
    for key in USAGE_KEYS:
        setattr(config, key, getattr(model if key == "hide_sep" else data, key))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: broken JSON: {error}") from error
    return values if isinstance(values, dict) else {}


def _hub_config(name: str) -> dict[str, Any]:
    from transformers import PretrainedConfig

    try:
        return PretrainedConfig.get_config_dict(name)[0]
    except (OSError, ValueError):  # loading the model says what is wrong
        return {}
