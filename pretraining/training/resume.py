"""run.json: the flags a run was started with, so that a resumed run is the same run."""

import dataclasses
from typing import Any

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError
from pretraining.input import storage
from pretraining.input.record_files import Dataset
from pretraining.model.configuration import BertConfig
from pretraining.settings import PretrainingSettings

RUN_FILE = "run.json"
# A change of these makes the checkpoint unusable, or the place in the input unknown.
_FIXED = (
    "recurring_span_selection",
    "only_recurring_span_selection",
    "train_batch_size",
    "random_seed",
    "shuffle_buffer_size",
)
# A change of these is a decision that a log should show.
_REPORTED = ("learning_rate", "num_train_steps", "num_warmup_steps", "use_bfloat16", "gradient_accumulation_steps")


def describe(settings: PretrainingSettings, config: BertConfig, data: Dataset) -> dict[str, Any]:
    """What run.json holds: fixed (a resumed run must agree), and flags."""
    flags = dataclasses.asdict(settings)
    files = data.files
    fixed = {f"--{name}": flags[name] for name in _FIXED}
    fixed |= {f"--{name}": value for name, value in dataclasses.asdict(data.spec).items()}
    fixed |= {f"config {name}": value for name, value in dataclasses.asdict(config).items()}
    shards = [f"{path.rsplit('/', 1)[-1]}: {count}" for path, count in zip(files.paths, files.records, strict=True)]
    return {"fixed": fixed | {"--input_file": shards}, "flags": flags}


def check(folder: str, found: dict[str, Any]) -> None:
    """Compares a run with the one that began in `folder`.

    Raises:
      InputError: a flag that may not change has changed.
    """
    path = storage.join(folder, RUN_FILE)
    if not tf.io.gfile.exists(path):
        logging.warning("%s is not there: cannot tell whether the flags are those that the run began with", path)
        return
    began = storage.read_json(path)
    before, now = began["fixed"], found["fixed"]
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        details = "; ".join(
            f"{name}: found {_short(now[name])}, expected {_short(before.get(name))}" for name in changed
        )
        raise InputError(f"{folder}: cannot resume, flags differ from those of {path}: {details}")
    for name in _REPORTED:
        if began["flags"].get(name) != found["flags"][name]:
            logging.warning("--%s: %s, was %s when the run began", name, found["flags"][name], began["flags"].get(name))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def record(folder: str, run: dict[str, Any]) -> None:
    storage.write_json(storage.join(folder, RUN_FILE), run)
