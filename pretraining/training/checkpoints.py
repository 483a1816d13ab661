"""Checkpoints of a run: the newest that is whole, and the best by evaluation."""

import re
import time

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError
from pretraining.input import storage

_INDEX = re.compile(r"model\.ckpt-(\d+)\.index$")
BEST_FOLDER = "best"
BEST_RESULTS = "eval_results.json"


def step_of(checkpoint: str) -> int:
    """The step in a checkpoint's name, model.ckpt-STEP."""
    return int(checkpoint.rsplit("-", 1)[1])


def newest_whole_checkpoint(folder: str) -> str | None:
    """The newest checkpoint all of whose tensors can be read; damaged newer ones are passed over with a warning, and
    TensorFlow's `checkpoint` file is made to name the one that is found.

    Raises:
      InputError: there are checkpoints, and every one is damaged.
    """
    if not tf.io.gfile.isdir(folder):
        return None
    steps = sorted(int(match[1]) for name in tf.io.gfile.listdir(folder) if (match := _INDEX.search(name)))
    candidates = [storage.join(folder, f"model.ckpt-{step}") for step in steps]
    while candidates:
        newest = candidates[-1]
        damage = _damage(newest)
        if damage is None:
            if tf.train.latest_checkpoint(folder) != newest:
                tf.compat.v1.train.update_checkpoint_state(folder, newest, candidates)
            return newest
        logging.warning("%s is damaged (%s): falling back to the checkpoint before", newest, damage)
        candidates.pop()
    if steps:
        raise InputError(f"{folder}: found {len(steps)} checkpoints, all damaged; start in another --output_dir")
    return None


def appears(folder: str, step: int, seconds: float) -> bool:
    """Whether the checkpoint of `step` is the newest, now or within so many seconds."""
    path, deadline = storage.join(folder, f"model.ckpt-{step}"), time.monotonic() + seconds
    while tf.train.latest_checkpoint(folder) != path:
        if time.monotonic() >= deadline:
            return False
        time.sleep(1)
    return True


def _damage(checkpoint: str) -> str | None:
    """Why a checkpoint cannot be read, or None; every tensor is read, which verifies its checksum."""
    try:
        reader = tf.compat.v1.train.NewCheckpointReader(checkpoint)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:  # the reader raises all of these
        return " ".join(str(error).split())[:200]
    return None


def score_of(results: dict[str, float]) -> float:
    """What "best" means: exact span accuracy, or masked LM accuracy where no spans are trained."""
    return results.get("span_exact_accuracy", results.get("masked_lm_accuracy", 0.0))


def keep_if_best(folder: str, checkpoint: str, results: dict[str, float]) -> bool:
    """Copies a checkpoint to folder/best/ if no evaluation before scored as high."""
    best = storage.join(folder, BEST_FOLDER)
    record = storage.join(best, BEST_RESULTS)
    if tf.io.gfile.exists(record) and score_of(storage.read_json(record)) >= score_of(results):
        return False
    tf.io.gfile.makedirs(best)
    previous = tf.io.gfile.glob(storage.join(best, "model.ckpt-*"))
    # The index goes last: a checkpoint without one does not exist for TensorFlow.
    for file in sorted(tf.io.gfile.glob(checkpoint + ".*"), key=lambda name: name.endswith(".index")):
        storage.copy(file, storage.join(best, file.rsplit("/", 1)[1]))
    storage.write_json(record, results)
    tf.compat.v1.train.update_checkpoint_state(best, storage.join(best, checkpoint.rsplit("/", 1)[1]))
    for file in previous:
        if not file.startswith(storage.join(best, checkpoint.rsplit("/", 1)[1]) + "."):
            tf.io.gfile.remove(file)
    return True
