"""Fine-tunes a model for extractive question answering and answers questions with it.

    python finetuning/run_qa.py --model_type=bert --model_name_or_path DIR --qass_head=True --train_file F \
        --predict_file G --do_train --do_eval --output_dir OUT

Takes the flags of the original systems and every flag of Hugging Face's TrainingArguments. Data may be KorQuAD/SQuAD
JSON, SQuAD 2.0, KLUE-MRC, AI Hub 기계독해, MRQA JSONL(.gz) or plain JSONL, told apart by content. OUT gets the model,
predictions.json, nbest_predictions.json, question_results.jsonl, eval_results.json and data_report.json.
"""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from transformers import HfArgumentParser, TrainingArguments

from common.cli import InputError, exit_with_one_line
from finetuning.settings import DataSettings, ModelSettings, ScheduleSettings

# The original's names for flags that Hugging Face has renamed since.
FLAG_ALIASES = {
    "--per_gpu_train_batch_size": "--per_device_train_batch_size",
    "--per_gpu_eval_batch_size": "--per_device_eval_batch_size",
    "--no_cuda": "--use_cpu",
    "--evaluate_during_training": "--evaluate_every_epoch",
}


@dataclass
class QATrainingArguments(TrainingArguments):
    """Hugging Face's arguments with the paper's hyper-parameters as defaults, and lengths grouped."""

    per_device_train_batch_size: int = field(default=12, metadata={"help": "Windows per step and device."})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "Windows per evaluation batch and device."})
    learning_rate: float = field(default=3e-5, metadata={"help": "Peak learning rate."})
    num_train_epochs: float = field(default=10.0, metadata={"help": "Epochs (see --min_steps)."})
    logging_first_step: bool = field(default=True, metadata={"help": "Log the loss of the first step."})
    logging_steps: float = field(default=50, metadata={"help": "Steps between two lines of loss."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints to keep."})
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "group_by_length, random or sequential."}
    )
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "No model here has any."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave as it is."})
    use_cache: bool = field(
        default=False,
        metadata={"help": "Taken for the original's sake: features are made in seconds and never cached on disk."},
    )

    def __post_init__(self) -> None:
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()  # else --bf16 asks for a GPU
        self.dataloader_pin_memory = self.dataloader_pin_memory and not self.use_cpu
        super().__post_init__()


SETTINGS = (ModelSettings, DataSettings, ScheduleSettings, QATrainingArguments)


def make_parser(program: str, description: str | None, *dataclasses: Any) -> HfArgumentParser:
    """A parser of all given dataclasses whose complaints are one line long."""
    return HfArgumentParser(
        dataclasses, prog=program, usage=f"{program} [flags] (--help lists them)", description=description
    )


def parse_settings(parser: HfArgumentParser, argv: list[str]) -> tuple[Any, ...]:
    """The dataclasses of `parser`, the original's flag names understood.

    Raises:
      InputError: a value that its dataclass refuses.
    """
    renamed = []
    for argument in argv:
        name, equals, value = argument.partition("=")
        renamed.append(FLAG_ALIASES.get(name, name) + equals + value)
    try:
        return parser.parse_args_into_dataclasses(renamed)
    except (ValueError, ImportError) as error:
        raise InputError(str(error)) from error


def keep_tensorboard_from_tensorflow() -> None:
    """TensorBoard loads TensorFlow where it is installed, unless this module can be imported; its own stub serves."""
    name = "tensorboard.compat.notf"
    sys.modules.setdefault(name, ModuleType(name))


def prepare_training_arguments(
    arguments: TrainingArguments, schedule: ScheduleSettings, data: DataSettings, do_eval: bool
) -> None:
    """Fits Hugging Face's arguments to the schedule's. Raises InputError where they contradict each other."""
    if schedule.threads:
        os.environ["RAYON_NUM_THREADS"] = str(schedule.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    keep_tensorboard_from_tensorflow()
    if schedule.early_stopping_patience and not schedule.evaluate_every_epoch:
        raise InputError("--early_stopping_patience: expected --evaluate_every_epoch with it")
    if schedule.evaluate_every_epoch:
        if not do_eval:
            raise InputError("--evaluate_every_epoch: expected --do_eval with it")
        arguments.eval_strategy = "epoch"
    if schedule.early_stopping_patience:
        arguments.save_strategy = "epoch"
        arguments.load_best_model_at_end, arguments.greater_is_better = True, True
        arguments.metric_for_best_model = f"eval_{data.metric_names[0]}_f1"


def main() -> None:
    parser = make_parser("run_qa.py", __doc__, *SETTINGS)
    model, data, schedule, arguments = parse_settings(parser, sys.argv[1:])
    if not arguments.do_train and not arguments.do_eval:
        raise InputError("nothing to do: expected --do_train, --do_eval or both")
    if not arguments.output_dir:
        raise InputError("--output_dir: found nothing, expected a folder")
    prepare_training_arguments(arguments, schedule, data, arguments.do_eval)

    from finetuning.qa_run import RunSettings, load_run_data, run_question_answering

    run_data = load_run_data(data, arguments.do_train, arguments.do_eval)
    results = run_question_answering(RunSettings(model, data, schedule), arguments, run_data)
    if results and arguments.process_index == 0:
        print(json.dumps(results, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    exit_with_one_line(main)
