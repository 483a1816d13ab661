"""What identifies a fine-tuning run, and how it is found again in its folder and gone on with."""

import dataclasses
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from finetuning.qa.questions import QAExample, squad_json
from finetuning.qa.results import EVAL_RESULTS, NBEST, PREDICTIONS, QUESTION_RESULTS
from finetuning.qa.settings import DataSettings, ModelSettings, ScheduleSettings
from finetuning.qa.trainer_arguments import decision_of
from finetuning.qa.usage import RUN_SETTINGS, usage_of
from kosplinter_common.cli import InputError
from kosplinter_common.files import JSON_ERRORS, file_sha256, read_json_object

TRAIN_RESULTS = "train_results.json"
DATA_REPORT = "data_report.json"
# What makes two trainings the same training; everything else may change between a run and its resumption.
TRAINING_KEYS = (
    *("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
    *("weight_decay", "lr_scheduler_type", "optim", "seed", "bf16", "fp16", "train_sampling_strategy", "max_grad_norm"),
    *("warmup_steps", "adam_beta1", "adam_beta2", "adam_epsilon", "world_size", "lr_scheduler_kwargs", "optim_args"),
    *("optim_target_modules", "neftune_noise_alpha", "ignore_data_skip"),
)
TOKENIZER_FILES = ("tokenizer*.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json", "*.model")
PATH_KEYS = ("model_name_or_path", "tokenizer_name")
DATA_KEYS = ("max_seq_length", "doc_stride", "max_query_length")
SCHEDULE_KEYS = ("warmup_ratio", "min_steps", "early_stopping_patience")


@dataclass(frozen=True)
class RunSettings:
    model: ModelSettings
    data: DataSettings
    schedule: ScheduleSettings


def run_identity(
    settings: RunSettings,
    arguments: TrainingArguments,
    train: list[QAExample],
    evaluation: list[QAExample] | None = None,
) -> dict[str, Any]:
    """What must be equal for a training to be the same training; the evaluation's questions, where they choose."""
    identity = dataclasses.asdict(settings.model) | {"train_sha256": content_hash(train)}
    identity |= {key: place_of(identity[key]) for key in PATH_KEYS}
    identity |= model_identity(settings.model.model_name_or_path)
    tokenizer = settings.model.tokenizer_name or settings.model.model_name_or_path
    identity["tokenizer_sha256"] = _sha256_of(tokenizer, TOKENIZER_FILES)
    identity |= {key: getattr(settings.data, key) for key in DATA_KEYS}
    identity |= {key: getattr(settings.schedule, key) for key in SCHEDULE_KEYS}
    identity |= {key: getattr(arguments, key) for key in TRAINING_KEYS}
    identity["best_model"] = decision_of(arguments)
    if identity["best_model"] is not None and evaluation is not None:
        identity["best_model"]["evaluation_sha256"] = content_hash(evaluation)
    return json.loads(json.dumps(identity, default=str))


def content_hash(examples: list[QAExample]) -> str:
    """SHA-256 of questions, contexts and answers."""
    content = json.dumps(squad_json(examples), ensure_ascii=False, sort_keys=True).encode(errors=JSON_ERRORS)
    return hashlib.sha256(content).hexdigest()


def place_of(model: str | None) -> str | None:
    """A model folder by its whole path, however it was named; a hub name as it is."""
    return str(Path(model).resolve()) if model and Path(model).is_dir() else model


def model_identity(model: str) -> dict[str, Any]:
    """Where a model is, and SHA-256 of its config and weights; no sums where it is a hub's, or none is named."""
    sums = _sha256_of(model, ("config.json", "*.safetensors", "pytorch_model*.bin"))
    return {"model_name_or_path": place_of(model), "model_sha256": sums}


def _sha256_of(model: str, patterns: tuple[str, ...]) -> list[str]:
    paths = sorted(path for pattern in patterns for path in Path(model).glob(pattern)) if model else []
    return [file_sha256(path) for path in paths]


def clear(output_dir: Path) -> None:
    """Removes what a run left in a folder, but for its model."""
    for checkpoint in output_dir.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    for name in (RUN_SETTINGS, TRAIN_RESULTS, DATA_REPORT, EVAL_RESULTS, PREDICTIONS, NBEST, QUESTION_RESULTS):
        (output_dir / name).unlink(missing_ok=True)


def check_same_run(output_dir: Path, identity: dict[str, Any]) -> None:
    """Raises InputError where a folder holds anything but the run of this identity."""
    path = output_dir / RUN_SETTINGS
    if not path.is_file():
        if output_dir.is_dir() and any(output_dir.iterdir()):
            raise InputError(
                f"{output_dir}: found files of something else, expected an empty folder (or --overwrite_output_dir)"
            )
        return
    previous = read_json_object(path, "what a run notes")
    for key, value in identity.items():
        found = previous.get(key)
        if (place_of(found) if key in PATH_KEYS else found) != value:
            raise InputError(
                f"{output_dir} holds another run: found {key} {found!r}, expected {value!r}; "
                "choose another folder or say --overwrite_output_dir"
            )


def check_output_of_evaluation(output_dir: Path, settings: RunSettings) -> None:
    """Raises InputError where a folder holds another model, or its answers, or the model learned with other input."""
    model, results = settings.model.model_name_or_path, output_dir / EVAL_RESULTS
    if (output_dir / RUN_SETTINGS).is_file():
        if Path(model).resolve() != output_dir.resolve():
            raise InputError(f"{output_dir} holds the training of another model than {model}; choose another folder")
    elif results.is_file() and not settings.schedule.overwrite_output_dir:
        found = read_json_object(results, "the scores of a run").get("model")
        if place_of(found) != place_of(model):
            raise InputError(f"{output_dir} holds answers of {found}, not of {model}; choose another folder")
    hide_sep = usage_of(model).get("hide_sep", settings.model.hide_sep)
    if hide_sep != settings.model.hide_sep:
        raise InputError(f"--hide_sep: found {settings.model.hide_sep}, expected {hide_sep} as {model} was trained")


def last_checkpoint(output_dir: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    complete = {}
    for path in output_dir.glob("checkpoint-*/trainer_state.json"):
        try:
            complete[json.loads(path.read_text(encoding="utf-8"))["global_step"]] = path.parent
        except (ValueError, KeyError, TypeError):
            print(f"{path}: broken, passing over its checkpoint", file=sys.stderr)
    return complete[max(complete)] if complete else None
