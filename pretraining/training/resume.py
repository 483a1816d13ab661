"""run.json: what a run was started with, so that a resumed run is the same run and an evaluation is of this run."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError
from pretraining.input import storage
from pretraining.input.record_files import Dataset
from pretraining.model.configuration import BertConfig, is_own_config
from pretraining.settings import PretrainingSettings

RUN_FILE = "run.json"
# A change of these makes the checkpoint unusable, or the place in the input unknown.
_FIXED = ("train_batch_size", "random_seed", "shuffle_buffer_size")
_VOCABULARY = "sha256 of the vocabulary"
# What --allow_changed_records lets change.
_SHARDS, _RECORDS = "--input_file", "sha256 of --input_file"
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
    fixed |= {_SHARDS: shards, _RECORDS: list(data.sums)}
    return {"fixed": fixed | _describe_model(config, data), "flags": flags}


def _describe_model(config: BertConfig, data: Dataset) -> dict[str, Any]:
    """What training and evaluation must agree in."""
    sizes = {f"config {name}": value for name, value in dataclasses.asdict(config).items()}
    return sizes | ({_VOCABULARY: data.vocab_sha256} if data.vocab_sha256 else {})


def with_epsilons_of_run(folder: str, config_path: str) -> BertConfig:
    """A config; where it leaves its epsilons to the checkpoint that a run starts from, they are those of the run."""
    config = BertConfig.from_json_file(config_path)
    path = storage.join(folder, RUN_FILE)
    if is_own_config(config_path) or not tf.io.gfile.exists(path):
        return config
    names = ("layer_norm_eps", "qass_layer_norm_eps")
    began = _noted(path)["fixed"]
    return dataclasses.replace(config, **{name: began.get(f"config {name}", getattr(config, name)) for name in names})


@dataclass(frozen=True)
class Change:
    """Something that was not as before when a run went on."""

    name: str
    was: Any
    now: Any


@dataclass(frozen=True)
class Resumed:
    """How a run goes on."""

    records_from_step: int = 0  # the number of updates after which the first of the records, in their order, was read
    changes: tuple[Change, ...] = ()


def check(folder: str, found: dict[str, Any], start_step: int, allow_changed_records: bool) -> Resumed:
    """Compares a run with the one that began in `folder`.

    Raises:
      InputError: a flag, or something behind it, that may not change has changed.
    """
    began = _read(folder)
    if began is None:
        return Resumed()
    allowed = (_SHARDS, _RECORDS) if allow_changed_records else ()
    records_changed = bool(_compare(folder, began["fixed"], found["fixed"], "cannot resume", allowed))
    before, now = began["flags"], found["flags"]
    changes = [Change(f"--{n}", before.get(n), now[n]) for n in _REPORTED if before.get(n) != now[n]]
    if records_changed:
        changes.append(Change("records", _in_words(began["fixed"][_SHARDS]), _in_words(found["fixed"][_SHARDS])))
    # A run that fell back behind a change of records reads the new ones from where it fell to.
    from_step = start_step if records_changed else min(start_step, began.get("records_from_step", 0))
    return Resumed(from_step, tuple(changes))


def record_changes(folder: str, found: dict[str, Any], start_step: int, resumed: Resumed) -> None:
    """Says what changed, and writes it into run.json beside what the run now has."""
    for change in resumed.changes:
        logging.warning("%s: %s, was %s until step %d", change.name, change.now, change.was, start_step)
    began = _read(folder)
    if began and (resumed.changes or began.get("records_from_step", 0) != resumed.records_from_step):
        new = [{"step": start_step, **dataclasses.asdict(change)} for change in resumed.changes]
        changes = [*began.get("changes", []), *new]
        record(folder, {**found, "records_from_step": resumed.records_from_step, "changes": changes})


def num_train_steps(folder: str) -> int:
    """With which step the run in `folder` ends, by its newest command."""
    return _noted(storage.join(folder, RUN_FILE))["flags"]["num_train_steps"]


def _in_words(shards: list[str]) -> str:
    records = sum(int(shard.rsplit(": ", 1)[1]) for shard in shards)
    return f"{len(shards):,} files of {records:,} records"


def check_evaluation(folder: str, config: BertConfig, data: Dataset) -> None:
    """Compares an evaluation with the run that it is of; says so where its records are those of training.

    Raises:
      InputError: another config or another vocabulary than the run's.
    """
    began = _read(folder)
    if began is None:
        return
    _compare(folder, began["fixed"], _describe_model(config, data), "cannot evaluate")
    if not data.vocab_sha256:
        logging.warning(
            "no dataset.json, no --vocab_file: cannot tell whether the evaluation's records were made with the run's "
            "vocabulary"
        )
    warn_of_trained_records(data, began["fixed"].get(_RECORDS, []))


def warn_of_trained_records(evaluation: Dataset, trained: Iterable[str]) -> None:
    """`trained`: SHA-256 of the files that are trained on."""
    if shared := len(set(evaluation.sums) & set(trained)):
        total = len(evaluation.sums)
        logging.warning("%d of %d evaluation files are trained on: their score is not held out", shared, total)


def _read(folder: str) -> dict[str, Any] | None:
    path = storage.join(folder, RUN_FILE)
    if tf.io.gfile.exists(path):
        return _noted(path)
    logging.warning("%s is not there: cannot tell whether the flags are those that the run began with", path)
    return None


def _noted(path: str) -> dict[str, Any]:
    """Raises InputError for a run.json of something else than pretraining."""
    values = storage.read_json(path)
    if not isinstance(values.get("fixed"), dict) or not isinstance(values.get("flags"), dict):
        raise InputError(f"{path}: found no 'fixed' and 'flags', expected the flags that pretraining began with")
    return values


def _compare(
    folder: str, before: dict[str, Any], now: dict[str, Any], refusal: str, allowed: tuple[str, ...] = ()
) -> list[str]:
    """Names of what changed and is allowed to.

    Raises:
      InputError: anything else changed.
    """
    path = storage.join(folder, RUN_FILE)
    if unknown := [name for name in now if name not in before]:
        logging.warning("%s says nothing of %s: not compared", path, ", ".join(unknown))
    changed = [name for name in now if name in before and before[name] != now[name]]
    if refused := [name for name in changed if name not in allowed]:
        details = "; ".join(f"{name}: found {_short(now[name])}, expected {_short(before[name])}" for name in refused)
        hint = "" if set(refused) - {_SHARDS, _RECORDS} else "; --allow_changed_records goes on with these records"
        raise InputError(f"{folder}: {refusal}, flags differ from those of {path}: {details}{hint}")
    return changed


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def record(folder: str, run: dict[str, Any]) -> None:
    storage.write_json(storage.join(folder, RUN_FILE), run)
