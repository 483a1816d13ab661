"""Disk and memory: what a run will need, said before it begins, and one line where there is too little."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.input import storage
from pretraining.model.replicas import variable_name
from pretraining.settings import PretrainingSettings
from pretraining.training.checkpoints import BEST_FOLDER


@dataclass(frozen=True)
class DiskSpaceHook(tf.compat.v1.train.SessionRunHook):
    """Compares, before training from `step`, the free space with the checkpoints to come; not on gs://."""

    settings: PretrainingSettings
    step: int

    def begin(self) -> None:
        folder = self.settings.output_dir
        if "://" in folder:
            return
        variables = {variable_name(variable): variable for variable in tf.compat.v1.global_variables()}
        size = sum(variable.shape.num_elements() * variable.dtype.size for variable in variables.values())
        number, free = checkpoints_to_come(self.settings, self.step), shutil.disk_usage(folder).free
        if free < number * size:
            raise InputError(
                f"--output_dir: found {_gigabytes(free)} free in {folder}, expected {_gigabytes(number * size)} for "
                f"{number} more checkpoints of {_gigabytes(size)}: make room, or lower --keep_checkpoint_max"
            )


def checkpoints_to_come(settings: PretrainingSettings, step: int) -> int:
    """How many more checkpoints will lie in a run's folder at most, best/ included: a new one is whole before an old
    one goes.
    """

    def there(folder: str) -> int:
        return len(tf.io.gfile.glob(storage.join(folder, "model.ckpt-*.index")))

    found = there(settings.output_dir)
    saves = -(-(settings.num_train_steps - step) // settings.save_checkpoints_steps) + 1  # the first step is saved too
    most = found + saves
    if settings.keep_checkpoint_max:
        every = settings.keep_checkpoint_every_steps
        milestones = settings.num_train_steps // every if every else 0
        most = max(found + 1, min(most, settings.keep_checkpoint_max + 1 + milestones))
    best = 0
    if settings.do_eval:
        best = 1 if there(storage.join(settings.output_dir, BEST_FOLDER)) or not settings.eval_every_steps else 2
    return most - found + best


@contextmanager
def exhaustion_in_one_line(settings: PretrainingSettings) -> Iterator[None]:
    """Raises:
    InputError: in place of TensorFlow's many lines, where the disk is full or a device's memory does not suffice.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        lines = re.findall(r"[^\n]*(?:No space left|OOM|[Oo]ut of memory)[^\n]*", error.message)  # behind a traceback
        reason = " ".join((lines[0] if lines else error.message).split())[:200]
        if "No space left" in reason:
            raise InputError(f"--output_dir: no space left for {settings.output_dir}: {reason}") from error
        parts = settings.gradient_accumulation_steps
        raise InputError(
            f"out of memory: double --gradient_accumulation_steps (found {parts}), or lower --train_batch_size (found "
            f"{settings.train_batch_size}) or, in evaluation, --eval_batch_size (found {settings.eval_batch_size}): "
            f"{reason}"
        ) from error


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
