"""Hugging Face's training arguments: which have no meaning here, and what keeping the best model asks for."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments, get_scheduler

from finetuning.qa.settings import DataSettings, ScheduleSettings
from kosplinter_common.cli import InputError

# Arguments that would do nothing here, or break a run, and what to say instead. Their defaults are accepted.
_PUBLISH = "finetuning/publish.py uploads a finished model"
_OWN_EVALUATION = "answers are decoded and scored here, not by the Trainer: leave it out"
_REFUSED = {
    "label_smoothing_factor": "it smooths labels of classification, not starts and ends of answers: leave it out",
    "dataloader_drop_last": "windows would be lost: a smaller batch at the end is part of every epoch",
    "remove_unused_columns": "windows have no columns to remove: leave it out",
    "label_names": "labels are the starts and ends of answers: leave it out",
    "length_column_name": "lengths are those of the windows: leave it out",
    "auto_find_batch_size": "a run's batch size is part of what it is: set --per_device_train_batch_size",
    "average_tokens_across_devices": "the loss is a mean over windows, not over tokens: leave it out",
    "accelerator_config": "windows are divided among processes as --seed says: leave it out",
    "data_seed": "--seed orders the windows, too",
    "save_only_model": "a run that was ended could not go on: --save_strategy=no saves no checkpoints",
    "use_liger_kernel": "its kernels are for language models: leave it out",
    "do_predict": "--do_eval answers --predict_file, with or without the answers being told",
    **dict.fromkeys(("prediction_loss_only", "include_for_metrics", "batch_eval_metrics"), _OWN_EVALUATION),
    **dict.fromkeys(("eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps"), _OWN_EVALUATION),
    **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_token", "hub_private_repo", "hub_always_push"), _PUBLISH),
    **dict.fromkeys(("hub_strategy", "hub_revision"), _PUBLISH),
}


def check(arguments: TrainingArguments, schedule: ScheduleSettings, data: DataSettings, do_eval: bool) -> None:
    """Completes the arguments that keep the best model.

    Raises:
      InputError: an argument that does nothing here, or that contradicts another.
    """
    defaults = type(arguments)(output_dir=arguments.output_dir)
    for name, instead in _REFUSED.items():
        if getattr(arguments, name) != getattr(defaults, name):
            raise InputError(f"--{name}: found {getattr(arguments, name)!r}, which does nothing good here: {instead}")
    _check_numbers(arguments)
    if arguments.lr_scheduler_type == "reduce_lr_on_plateau":
        raise InputError("--lr_scheduler_type: found reduce_lr_on_plateau, expected one that needs no evaluation loss")
    if arguments.fp16 and arguments.use_cpu:
        raise InputError("--fp16: found no GPU, expected one; --bf16 needs none")
    if schedule.evaluate_every_epoch or arguments.eval_strategy != "no":
        if not do_eval:
            raise InputError("--evaluate_every_epoch: expected --do_eval with it")
    elif arguments.eval_steps or arguments.eval_delay or arguments.eval_on_start:
        raise InputError("--eval_steps, --eval_delay, --eval_on_start: expected --eval_strategy=steps with them")
    if schedule.evaluate_every_epoch and arguments.eval_strategy == "steps":
        raise InputError("--evaluate_every_epoch: found --eval_strategy=steps too, expected one of the two")
    if arguments.eval_steps and arguments.eval_strategy != "steps":
        raise InputError(f"--eval_steps: found {arguments.eval_steps:g}, which needs --eval_strategy=steps")
    if schedule.evaluate_every_epoch:
        arguments.eval_strategy = "epoch"
    _keep_best(arguments, schedule, data)
    _check_resumption(arguments, schedule)


def _check_numbers(arguments: TrainingArguments) -> None:
    """What would end in a traceback, most of it when the run has already begun to write."""
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name}: found {getattr(arguments, name)}, expected at least 1")
    for name in ("learning_rate", "weight_decay", "adam_epsilon"):
        if not getattr(arguments, name) >= 0:
            raise InputError(f"--{name}: found {getattr(arguments, name)}, expected at least 0")
    if arguments.lr_scheduler_type == "reduce_lr_on_plateau":
        return
    try:  # a schedule of its own steps, with an optimizer of nothing
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=arguments.learning_rate)
        kwargs: Any = arguments.lr_scheduler_kwargs
        get_scheduler(arguments.lr_scheduler_type, optimizer, 1, 2, kwargs)
    except (TypeError, ValueError) as error:
        kind = arguments.lr_scheduler_type
        raise InputError(f"--lr_scheduler_type: found {getattr(kind, 'value', kind)}: {error}") from error


def _keep_best(arguments: TrainingArguments, schedule: ScheduleSettings, data: DataSettings) -> None:
    """Both early stopping and --load_best_model_at_end keep the checkpoint that scored best."""
    if schedule.early_stopping_patience and not schedule.evaluate_every_epoch:
        raise InputError("--early_stopping_patience: expected --evaluate_every_epoch with it")
    metric = (arguments.metric_for_best_model or "").removeprefix("eval_")
    arguments.load_best_model_at_end |= bool(schedule.early_stopping_patience)
    if not arguments.load_best_model_at_end and arguments.save_strategy != "best":
        if metric or arguments.greater_is_better is not None:
            raise InputError("--metric_for_best_model: expected --load_best_model_at_end with it")
        return
    if arguments.eval_strategy == "no":
        raise InputError("--load_best_model_at_end: expected --evaluate_every_epoch or --eval_strategy with it")
    if arguments.save_strategy != "best":
        arguments.save_strategy = arguments.eval_strategy
        if arguments.eval_steps is not None:  # with the strategy "steps"
            arguments.save_steps = arguments.eval_steps
    scores = [f"{name}_{score}" for name in data.metric_names for score in ("f1", "exact_match")]
    if metric in ("", "loss"):  # "loss" is what Hugging Face puts where nothing was said
        metric = scores[0]
    if metric not in scores:
        raise InputError(f"--metric_for_best_model: found {metric}, expected one of {', '.join(scores)}")
    arguments.metric_for_best_model, arguments.greater_is_better = f"eval_{metric}", True


def _check_resumption(arguments: TrainingArguments, schedule: ScheduleSettings) -> None:
    given = arguments.resume_from_checkpoint
    if not given:
        return
    if schedule.overwrite_output_dir:
        raise InputError("--resume_from_checkpoint: found --overwrite_output_dir too, expected one of the two")
    checkpoint = Path(given)
    if not (checkpoint / "trainer_state.json").is_file():
        raise InputError(f"--resume_from_checkpoint: {given}: not a checkpoint, expected a folder OUT/checkpoint-N")
    if checkpoint.resolve().parent != Path(arguments.output_dir or "").resolve():
        raise InputError(f"--resume_from_checkpoint: {given}: expected a checkpoint in {arguments.output_dir}")


def decision_of(arguments: TrainingArguments) -> dict[str, Any] | None:
    """How the best model is chosen, which is part of what a run is; None where the last one is kept."""
    if not arguments.load_best_model_at_end:
        return None
    names = ("eval_strategy", "eval_steps", "eval_delay", "save_strategy", "save_steps", "metric_for_best_model")
    return {name: getattr(arguments, name) for name in names}
