"""run.json: what a run was started with, so that a resumed run is the same run and an evaluation is of this run."""

import dataclasses
from collections.abc import Iterable
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
_FIXED = ("train_batch_size", "random_seed", "shuffle_buffer_size")
_VOCABULARY, _RECORDS = "sha256 of the vocabulary", "sha256 of --input_file"
# A change of these is a decision that a log should show.
_REPORTED = ("learning_rate", "num_train_steps", "num_warmup_steps", "use_bfloat16", "gradient_accumulation_steps")


def describe(settings: PretrainingSettings, config: BertConfig, data: Dataset) -> dict[str, Any]:
    """What run.json holds: fixed (a resumed run must agree), and flags."""
    flags = dataclasses.asdict(settings.with_objectives_of(data.spec))
    files = data.files
    objectives = ("recurring_span_selection", "only_recurring_span_selection")
    fixed = {f"--{name}": flags[name] for name in (*objectives, *_FIXED)}
    fixed |= {f"--{name}": value for name, value in dataclasses.asdict(data.spec).items()}
    shards = [f"{path.rsplit('/', 1)[-1]}: {count}" for path, count in zip(files.paths, files.records, strict=True)]
    fixed |= {"--input_file": shards, _RECORDS: list(data.sums)}
    return {"fixed": fixed | _describe_model(config, data), "flags": flags}


def _describe_model(config: BertConfig, data: Dataset) -> dict[str, Any]:
    """What training and evaluation must agree in."""
    sizes = {f"config {name}": value for name, value in dataclasses.asdict(config).items()}
    return sizes | ({_VOCABULARY: data.vocab_sha256} if data.vocab_sha256 else {})


def check(folder: str, found: dict[str, Any]) -> None:
    """Compares a run with the one that began in `folder`.

    Raises:
      InputError: a flag, or something behind it, that may not change has changed.
    """
    began = _read(folder)
    if began is None:
        return
    _compare(folder, began["fixed"], found["fixed"], "cannot resume")
    for name in _REPORTED:
        if began["flags"].get(name) != found["flags"][name]:
            logging.warning("--%s: %s, was %s when the run began", name, found["flags"][name], began["flags"].get(name))


def check_evaluation(folder: str, config: BertConfig, data: Dataset) -> None:
    """Compares an evaluation with the run that it is of; says so where its records are those of training.

    Raises:
      InputError: another config or another vocabulary than the run's.
    """
    began = _read(folder)
    if began is None:
        return
    _compare(folder, began["fixed"], _describe_model(config, data), "cannot evaluate")
    warn_of_trained_records(data, began["fixed"].get(_RECORDS, []))


def warn_of_trained_records(evaluation: Dataset, trained: Iterable[str]) -> None:
    """`trained`: SHA-256 of the files that are trained on."""
    if shared := len(set(evaluation.sums) & set(trained)):
        total = len(evaluation.sums)
        logging.warning("%d of %d evaluation files are trained on: their score is not held out", shared, total)


def _read(folder: str) -> dict[str, Any] | None:
    path = storage.join(folder, RUN_FILE)
    if tf.io.gfile.exists(path):
        return storage.read_json(path)
    logging.warning("%s is not there: cannot tell whether the flags are those that the run began with", path)
    return None


def _compare(folder: str, before: dict[str, Any], now: dict[str, Any], refusal: str) -> None:
    path = storage.join(folder, RUN_FILE)
    if unknown := [name for name in now if name not in before]:
        logging.warning("%s says nothing of %s: not compared", path, ", ".join(unknown))
    changed = [name for name in now if name in before and before[name] != now[name]]
    if changed:
        details = "; ".join(f"{name}: found {_short(now[name])}, expected {_short(before[name])}" for name in changed)
        raise InputError(f"{folder}: {refusal}, flags differ from those of {path}: {details}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def record(folder: str, run: dict[str, Any]) -> None:
    storage.write_json(storage.join(folder, RUN_FILE), run)
