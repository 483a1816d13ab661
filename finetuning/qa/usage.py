"""What a fine-tuned model was trained with and has to be used with: keys of its config.json."""

from pathlib import Path
from typing import Any

from finetuning.qa.results import write_json
from finetuning.qa.settings import DataSettings, ModelSettings
from kosplinter_common.cli import InputError
from kosplinter_common.files import read_json_object

THRESHOLD = "null_score_diff_threshold"  # none: the model has not learned that questions may have no answer
THRESHOLD_SOURCE = "null_threshold_source"
USAGE_KEYS = ("hide_sep", "max_seq_length", "doc_stride", "max_query_length", "max_answer_length", THRESHOLD)
_TYPES: dict[str, type | tuple[type, ...]] = dict.fromkeys(USAGE_KEYS, int)
_TYPES |= {"hide_sep": bool, THRESHOLD: (int, float)}
CALIBRATION = "calibration"  # temperature and threshold of the probabilities, which every training makes void
RUN_SETTINGS = "run.json"  # of the run that trained a model; in older folders the only place that tells


def usage_of(model: str) -> dict[str, Any]:
    """The values of USAGE_KEYS that a model folder or hub name tells; empty where none is noted."""
    folder = Path(model)
    if model and not folder.is_dir():
        noted = _hub_config(model)
    else:
        noted = _read(folder / RUN_SETTINGS) | _read(folder / "config.json") if model else {}
    usage = {key: noted[key] for key in USAGE_KEYS if noted.get(key) is not None}
    for key, value in usage.items():
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and _TYPES[key] is not bool):
            raise InputError(f"{model}: its config.json or {RUN_SETTINGS} says {key} {value!r}, expected another type")
    return usage


def note_usage(config: Any, model: ModelSettings, data: DataSettings, learns_no_answer: bool) -> None:
    """Sets the keys in the config of a model that is about to be trained.

    learns_no_answer: whether some questions that it learns from have no answer. A model that has not seen any answers
    every question.
    """
    for key in USAGE_KEYS:
        setattr(config, key, getattr(model if key == "hide_sep" else data, key))
    given = "given" if data.null_score_diff_threshold is not None else "default"
    setattr(config, THRESHOLD, data.null_threshold if learns_no_answer else None)
    setattr(config, THRESHOLD_SOURCE, given if learns_no_answer else None)
    setattr(config, CALIBRATION, None)


def note_best_threshold(model_dir: Path, threshold: float, source: str) -> None:
    """Sets the threshold that an evaluation found, in a trained model that learned to abstain and was given none."""
    config = _read(model_dir / "config.json")
    if config.get(THRESHOLD) is not None and config.get(THRESHOLD_SOURCE) != "given":
        write_json(model_dir / "config.json", config | {THRESHOLD: threshold, THRESHOLD_SOURCE: source})


def _read(path: Path) -> dict[str, Any]:
    return read_json_object(path, "what a run notes") if path.is_file() else {}


def _hub_config(name: str) -> dict[str, Any]:
    from transformers import PretrainedConfig

    try:
        return PretrainedConfig.get_config_dict(name)[0]
    except (OSError, ValueError):  # loading the model says what is wrong
        return {}
