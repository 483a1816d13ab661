"""The flags that run_qa.py and run_few_shot.py share, and how their values are checked against each other."""

import contextlib
import os
import sys
from argparse import Namespace
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from transformers import AutoTokenizer, HfArgumentParser, TrainingArguments

from finetuning.qa import trainer_arguments
from finetuning.qa.precision import bool_or_auto, chosen_bf16
from finetuning.qa.predecessor_flags import translate
from finetuning.qa.settings import DataSettings, ModelSettings, ScheduleSettings
from finetuning.qa.usage import THRESHOLD, usage_of
from kosplinter_common.cli import InputError


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
    bf16: bool = field(
        default=False,
        metadata={"help": "Compute in bfloat16, evaluation too. auto: if this machine is fast at it."},
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave as it is."})
    use_cache: bool = field(
        default=False,
        metadata={"help": "Taken for the original's sake: features are made in seconds and never cached on disk."},
    )

    def __post_init__(self) -> None:
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()  # else --bf16 asks for a GPU
        self.dataloader_pin_memory = self.dataloader_pin_memory and not self.use_cpu
        keep_best, self.load_best_model_at_end = self.load_best_model_at_end, False
        super().__post_init__()
        self.load_best_model_at_end = keep_best  # strategies agree only when trainer_arguments.check() has seen them


SETTINGS = (ModelSettings, DataSettings, ScheduleSettings, QATrainingArguments)


def make_parser(program: str, description: str | None, *dataclasses: Any) -> HfArgumentParser:
    """A parser of all given dataclasses whose complaints are one line long."""
    parser = HfArgumentParser(
        dataclasses, prog=program, usage=f"{program} [flags] (--help lists them)", description=description
    )
    bf16 = next(action for action in parser._actions if action.dest == "bf16")
    bf16.type, bf16.default = bool_or_auto, None  # parse_settings settles what auto, and no word, mean
    return parser


def parse_settings(parser: HfArgumentParser, argv: list[str]) -> tuple[Any, ...]:
    """The dataclasses of `parser`, the original's flag names understood.

    What a fine-tuned model notes of its own use is the default of the flags that say the same.

    Raises:
      InputError: a flag that is not known, or a value that its dataclass refuses.
    """
    own = translate(argv, _lower_cases)
    flags, _ = parser.parse_known_args(own)
    usage = usage_of(flags.model_name_or_path)
    if flags.do_train:
        usage.pop(THRESHOLD, None)  # it belongs to what the model learned before
    parser.set_defaults(**usage)
    own.append(f"--bf16={_settled_bf16(flags)}")
    try:
        *settings, unknown = parser.parse_args_into_dataclasses(own, return_remaining_strings=True)
    except (ValueError, ImportError) as error:
        raise InputError(str(error)) from error
    if unknown:
        raise InputError(f"found {' '.join(unknown)}, expected flags that --help lists")
    return tuple(settings)


def _settled_bf16(flags: Namespace) -> bool:
    asked = False if flags.fp16 and flags.bf16 is None else flags.bf16
    one_process_says_it = contextlib.nullcontext() if os.environ.get("RANK", "0") == "0" else redirect_stderr(None)
    with one_process_says_it:
        return chosen_bf16(asked, flags.use_cpu)


def _lower_cases(tokenizer: str) -> bool:
    try:
        backend = AutoTokenizer.from_pretrained(tokenizer).backend_tokenizer
    except (OSError, ValueError, KeyError, AttributeError):  # loading the model says what is wrong
        return True
    return backend.normalizer is not None and backend.normalizer.normalize_str("A") == "a"


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
    trainer_arguments.check(arguments, schedule, data, do_eval)
