"""Checkpoints of a run: the newest that is whole, and the best by evaluation."""

import re
import time
from dataclasses import replace
from typing import Any

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError
from kosplinter_common.files import path_without_wildcards
from kosplinter_common.records.examples import RecordSpec
from pretraining.input import storage
from pretraining.model.configuration import BertConfig
from pretraining.model.initialization import list_checkpoint

_INDEX = re.compile(r"model\.ckpt-(\d+)\.index$")
_LAYER = re.compile(r"bert/encoder/layer_(\d+)/")
BEST_FOLDER = "best"
BEST_RESULTS = "eval_results.json"


def step_of(checkpoint: str) -> int:
    """The step in a checkpoint's name, model.ckpt-STEP."""
    return int(checkpoint.rsplit("-", 1)[1])


def steps_in(folder: str) -> list[int]:
    """Steps of the checkpoints in a folder, ascending; none where it is not there."""
    if not tf.io.gfile.isdir(folder):
        return []
    return sorted(int(match[1]) for name in tf.io.gfile.listdir(folder) if (match := _INDEX.search(name)))


def newest_whole_checkpoint(folder: str, repair: bool = True) -> str | None:
    """The newest checkpoint all of whose tensors can be read; damaged newer ones are passed over with a warning.

    Args:
      folder: the run's.
      repair: make TensorFlow's `checkpoint` file name the one that is found: for who trains, and owns that file.

    Raises:
      InputError: there are checkpoints, and every one is damaged.
    """
    folder = path_without_wildcards(folder)
    steps = steps_in(folder)
    candidates = [storage.join(folder, f"model.ckpt-{step}") for step in steps]
    while candidates:
        newest = candidates[-1]
        damage = _damage(newest)
        if damage is None:
            if repair and tf.train.latest_checkpoint(folder) != newest:
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


def check_sizes(checkpoint: str, config: BertConfig) -> None:
    """Raises:
    InputError: a checkpoint of other sizes than the config's. (The number of heads leaves no trace in shapes.)
    """
    shapes = list_checkpoint(checkpoint)
    inner = "bert/encoder/layer_0/intermediate/dense/kernel"
    words, positions = (f"bert/embeddings/{name}_embeddings" for name in ("word", "position"))
    if missing := [name for name in (inner, words, positions) if name not in shapes]:
        raise InputError(f"{checkpoint}: found no {missing[0]}, expected a checkpoint of a pretraining run")
    sizes = {
        "num_hidden_layers": len({match[1] for name in shapes if (match := _LAYER.match(name))}),
        "vocab_size": shapes[words][0],
        "hidden_size": shapes[words][1],
        "max_position_embeddings": shapes[positions][0],
        "intermediate_size": shapes[inner][1],
    }
    for name, found in sizes.items():
        if found != getattr(config, name):
            raise InputError(f"{checkpoint}: {name}: found {found}, expected the config's {getattr(config, name)}")


def learned_of(checkpoint: str, wanted: RecordSpec, flags_given: bool) -> RecordSpec:
    """The objectives of `wanted` that a checkpoint was trained on.

    Args:
      checkpoint: of a run.
      wanted: by the flags of span selection or, where not `flags_given`, by the records.
      flags_given: then each that is wanted must have been trained.

    Raises:
      InputError: an objective that the flags ask for, or all that the records hold, was not trained.
    """
    heads = {name.split("/")[1] for name in list_checkpoint(checkpoint) if name.startswith("cls/")}
    spans, masked_lm = "span_predictions" in heads, "predictions" in heads
    learned = replace(
        wanted,
        max_questions_per_seq=wanted.max_questions_per_seq if spans else 0,
        max_predictions_per_seq=wanted.max_predictions_per_seq if masked_lm else 0,
    )
    nothing = not learned.max_questions_per_seq and not learned.max_predictions_per_seq
    if nothing or (flags_given and learned != wanted):
        missing = "spans" if wanted.max_questions_per_seq and not spans else "masked LM"
        only = "--recurring_span_selection --only_recurring_span_selection" if spans else "--norecurring_span_selection"
        raise InputError(
            f"{checkpoint}: found a run that was not trained on {missing}, expected one so trained: try {only}"
        )
    return learned


def score_of(results: dict[str, Any]) -> float:
    """What "best" means: exact span accuracy, or masked LM accuracy where no spans are trained."""
    return results.get("span_exact_accuracy", results.get("masked_lm_accuracy", 0.0))


def best_folder(folder: str, results: dict[str, Any]) -> str:
    """Where the best by an evaluation like this one is kept: best/, which belongs to the records and the kind of score
    that came first, or for others a folder that is named for them. Scores on different records do not compare.
    """
    first = storage.join(folder, BEST_FOLDER)
    record = storage.join(first, BEST_RESULTS)
    if not tf.io.gfile.exists(record) or _kind(storage.read_json(record)) == _kind(results):
        return first
    return "-".join([first, *filter(None, _kind(results))])


def _kind(results: dict[str, Any]) -> tuple[str, str]:
    return results.get("data", ""), "" if "span_exact_accuracy" in results else "masked_lm"


def keep_if_best(folder: str, checkpoint: str, results: dict[str, Any]) -> str | None:
    """Copies a checkpoint to `best_folder`, and names that, if no evaluation like this one scored as high before."""
    best = best_folder(folder, results)
    record = storage.join(best, BEST_RESULTS)
    if tf.io.gfile.exists(record) and score_of(storage.read_json(record)) >= score_of(results):
        return None
    tf.io.gfile.makedirs(best)
    previous = _files_beginning(storage.join(best, "model.ckpt-"))
    # The index goes last: a checkpoint without one does not exist for TensorFlow.
    for file in sorted(_files_beginning(checkpoint + "."), key=lambda name: name.endswith(".index")):
        storage.copy(file, storage.join(best, file.rsplit("/", 1)[1]))
    storage.write_json(record, results)
    tf.compat.v1.train.update_checkpoint_state(best, storage.join(best, checkpoint.rsplit("/", 1)[1]))
    for file in previous:
        if not file.startswith(storage.join(best, checkpoint.rsplit("/", 1)[1]) + "."):
            tf.io.gfile.remove(file)
    return best


def _files_beginning(prefix: str) -> list[str]:
    """Files whose paths begin so; not by glob: the folder's name may look like a pattern."""
    folder, name = prefix.rsplit("/", 1)
    return [storage.join(folder, found) for found in tf.io.gfile.listdir(folder) if found.startswith(name)]
