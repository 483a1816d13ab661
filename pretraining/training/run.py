"""A whole pretraining run: checks, training with resume, evaluation."""

import dataclasses
import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError
from kosplinter_common.files import path_without_wildcards
from pretraining.input import record_files, storage
from pretraining.input.record_faults import find_fault
from pretraining.input.record_files import Dataset
from pretraining.model import flops
from pretraining.model.configuration import BertConfig
from pretraining.model.initialization import config_of_start, list_checkpoint
from pretraining.settings import PretrainingSettings
from pretraining.training import checkpoints, following, resume
from pretraining.training.devices import check_devices
from pretraining.training.estimators import build_estimators, is_chief, num_workers
from pretraining.training.hooks import (
    NonFiniteGuard,
    Progress,
    ProgressHook,
    SessionLostError,
    StopHook,
    stop_on_signals,
    without_session_recovery,
)
from pretraining.training.output_lock import alone_in
from pretraining.training.resources import DiskSpaceHook, exhaustion_in_one_line
from pretraining.training.resume import Resumed
from pretraining.training.run_log import FOLLOWER_METRICS_FILE, METRICS_FILE, RunLog
from pretraining.training.starting_weights import remove_structured_start


@dataclass(frozen=True)
class Run:
    """A run that was checked."""

    settings: PretrainingSettings
    config: BertConfig
    train_data: Dataset | None
    eval_data: Dataset | None
    checkpoint: str | None  # that it goes on from or evaluates; None for a new run
    resumed: Resumed  # how it goes on

    @property
    def start_step(self) -> int:
        return checkpoints.step_of(self.checkpoint) if self.checkpoint else 0


def prepare(settings: PretrainingSettings) -> Run:
    """Every check that needs no graph.

    Raises:
      InputError: flags, config, vocabulary, records and checkpoint that disagree.
    """
    for name in ("bert_config_file", "output_dir", "vocab_file", "init_checkpoint"):
        if not storage.is_utf8(path := getattr(settings, name)):
            raise InputError(f"--{name}: found {path!r}, a name that is not UTF-8, which TensorFlow cannot open")
    check_devices(settings)
    checkpoint = checkpoints.newest_whole_checkpoint(settings.output_dir, repair=settings.do_train and is_chief())
    config = _config(settings, checkpoint)
    if not settings.do_train:
        return _prepare_evaluation(settings, config, checkpoint)
    train_data = _open(settings.input_file, settings, config)
    eval_data = None
    if settings.do_eval:
        patterns = settings.eval_input_file or settings.input_file
        eval_data = _open(patterns, settings.with_objectives_of(train_data.spec), config)
        record_files.check_same_vocabulary(train_data, eval_data)
        _check_evaluated(settings, eval_data)
        resume.warn_of_trained_records(eval_data, train_data.sums)
    resumed = _check_resume(settings, config, train_data, checkpoint)
    return Run(settings, config, train_data, eval_data, checkpoint, resumed)


def _prepare_evaluation(settings: PretrainingSettings, config: BertConfig, checkpoint: str | None) -> Run:
    """Of evaluation without training: nothing is written, and everything must be the run's."""
    if not checkpoint:
        raise InputError(f"--do_eval without --do_train: found no checkpoint in {settings.output_dir}")
    checkpoints.check_sizes(checkpoint, config)
    patterns = settings.eval_input_file or settings.input_file
    wanted = settings.record_spec(record_files.recorded_spec(patterns))
    flags_given = (settings.recurring_span_selection, settings.only_recurring_span_selection) != (None, None)
    spec = checkpoints.learned_of(checkpoint, wanted, flags_given)
    data = record_files.open_dataset(patterns, spec, config, settings.vocab_file)
    resume.check_evaluation(settings.output_dir, config, data)
    _check_evaluated(settings, data)
    return Run(settings, config, None, data, checkpoint, Resumed())


def _check_evaluated(settings: PretrainingSettings, data: Dataset) -> None:
    logging.info("Checking the evaluation's records")
    record_files.check_all_records(data, settings.max_eval_steps * settings.eval_batch_size)


def _config(settings: PretrainingSettings, checkpoint: str | None) -> BertConfig:
    """Its epsilons are the flag's, else those that a run began with, else what --init_checkpoint tells."""
    path, start = settings.bert_config_file, settings.init_checkpoint
    if settings.layer_norm_eps is not None or (start and not checkpoint):
        return config_of_start(
            path, list_checkpoint(start) if start and not checkpoint else {}, settings.layer_norm_eps
        )
    return resume.with_epsilons_of_run(settings.output_dir, path) if checkpoint else BertConfig.from_json_file(path)


def _open(patterns: str, settings: PretrainingSettings, config: BertConfig) -> Dataset:
    wanted = settings.record_spec(record_files.recorded_spec(patterns))
    return record_files.open_dataset(patterns, wanted, config, settings.vocab_file)


def _check_resume(settings: PretrainingSettings, config: BertConfig, data: Dataset, checkpoint: str | None) -> Resumed:
    run = resume.describe(settings, config, data)
    if checkpoint is None:
        try:
            tf.io.gfile.makedirs(settings.output_dir)
            if is_chief():
                resume.record(settings.output_dir, run)
        except tf.errors.OpError as error:
            raise InputError(f"--output_dir: cannot write to {settings.output_dir}: {error.message}") from error
        return Resumed()
    start_step = checkpoints.step_of(checkpoint)
    resumed = resume.check(settings.output_dir, run, start_step, settings.allow_changed_records)
    checkpoints.check_sizes(checkpoint, config)
    if settings.num_train_steps < start_step:
        raise InputError(
            f"--num_train_steps: found {settings.num_train_steps}, expected at least {start_step}, "
            f"the step of the newest checkpoint in {settings.output_dir}"
        )
    logging.info("Going on from step %d of %s", start_step, settings.output_dir)
    if is_chief():
        resume.record_changes(settings.output_dir, run, start_step, resumed)
    return resumed


def run(settings: PretrainingSettings) -> int:
    """Trains and evaluates as told; the number of the signal that ended it early, else 0.

    Raises:
      InputError: see `prepare`; another run in the folder; damaged records, a full disk or too little memory found on
        the way; NonFiniteError.
    """
    trains = settings.do_train and is_chief()
    with alone_in(settings.output_dir) if trains else nullcontext(), exhaustion_in_one_line(settings):
        if settings.eval_follow:
            following.wait_for_first_checkpoint(settings.output_dir)
        prepared = prepare(settings)
        runner = Runner(dataclasses.replace(prepared, settings=_with_plain_paths(settings)))
        if settings.do_train:
            return runner.train_and_evaluate()
        if settings.eval_follow:
            runner.follow()
            return 0
        runner.evaluate()
        return 0


def _with_plain_paths(settings: PretrainingSettings) -> PretrainingSettings:
    """The settings with checkpoints where TensorFlow finds them: it would take the path's [ ] * ? for a pattern."""
    output_dir, init_checkpoint = map(path_without_wildcards, (settings.output_dir, settings.init_checkpoint))
    if output_dir != settings.output_dir:
        logging.info("%s has the name %s as long as this run lasts", settings.output_dir, output_dir)
    return dataclasses.replace(settings, output_dir=output_dir, init_checkpoint=init_checkpoint)


class Runner:
    """Estimator and log of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._settings = run.settings
        data = run.train_data or run.eval_data
        assert data is not None, "prepare() opens one of them"
        self._data = data
        self._step, self._checkpoint = run.start_step, run.checkpoint
        self._data_key = record_files.evaluation_key(run.eval_data, self._eval_records()) if run.eval_data else ""
        self._estimators = build_estimators(run.settings, run.config, data, load_weights=not run.checkpoint)
        leads = run.settings.do_train and is_chief()
        # One file for each process that writes: on gs:// two that append to one would lose each other's lines.
        file = FOLLOWER_METRICS_FILE if run.settings.eval_follow else METRICS_FILE
        self._log = RunLog(run.settings.output_dir, run.start_step if leads else None, file)
        for change in run.resumed.changes if leads else ():
            self._log.add({"kind": "change", "step": run.start_step, **asdict(change)})

    def _eval_records(self) -> int:
        """How many records an evaluation uses: all, or those of --max_eval_steps."""
        settings, data = self._settings, self._run.eval_data
        assert data is not None, "prepare() opens it for --do_eval"
        limit = settings.max_eval_steps * settings.eval_batch_size
        return min(limit, data.files.num_records) if limit else data.files.num_records

    def train_and_evaluate(self) -> int:
        """Trains to num_train_steps, with an evaluation at every eval_every_steps and at the end; the number of the
        signal that ended it early, else 0.
        """
        settings = self._settings
        last = settings.num_train_steps
        every = settings.eval_every_steps if settings.do_eval and settings.eval_every_steps else last
        stop = StopHook(alone=num_workers() == 1)
        with stop_on_signals(stop):
            if settings.do_eval and is_chief() and (self._step >= last or self._lacks_evaluation(every)):
                self.evaluate()
            while self._step < last and not stop.due:
                self._train(min(last, (self._step // every + 1) * every), stop)
                if settings.do_eval and is_chief() and not stop.requested:
                    self.evaluate()
        return stop.signal if stop.requested else 0

    def _lacks_evaluation(self, every: int) -> bool:
        """Whether a run was killed in the evaluation of the checkpoint that it goes on from."""
        return self._step > 0 and self._step % every == 0 and self._step not in self._evaluated_steps()

    def _evaluated_steps(self) -> set[int]:
        rows = (row for row in self._log.rows if row["kind"] == "eval")
        return {row["step"] for row in rows if row.get("data", self._data_key) == self._data_key}

    def _train(self, max_steps: int, stop: StopHook) -> None:
        settings, data = self._settings, self._data
        progress = Progress(
            num_train_steps=settings.num_train_steps,
            batch_size=settings.train_batch_size,
            flops_per_example=flops.training_flops(self._run.config, data.spec),
            peak_flops=flops.peak_of_run(
                settings.use_bfloat16, settings.num_tpu_cores if settings.use_tpu else 0, self._estimators.replicas
            ),
            log_steps=settings.log_steps,
            steps_per_run=settings.steps_per_run,
        )
        hook = ProgressHook(progress, self._log, settings.output_dir, summaries=not settings.use_tpu)
        try:
            with without_session_recovery():
                self._estimators.train(
                    data,
                    records_seen=(self._step - self._run.resumed.records_from_step) * settings.train_batch_size,
                    max_steps=max_steps,
                    hooks=[DiskSpaceHook(settings, self._step), hook, stop] if is_chief() else [stop],
                    listener=NonFiniteGuard(settings.output_dir),
                )
        except tf.errors.DataLossError as error:
            raise record_files.name_damage(data.files) or error from error
        except tf.errors.InvalidArgumentError as error:
            if not (unusable := re.search(r"Key: .*|value out of range", error.message)):
                raise
            logging.info("Looking for the record that training met (%s)", unusable[0])
            named = find_fault(data.files, data.spec, data.vocab_size, damage_too=False)
            raise named or InputError(
                f"{settings.input_file}: a record unlike the first ones: {unusable[0]}"
            ) from error
        # TPUEstimator returns as if all were well where it loses its TPU; other workers come before the chief's file.
        if not stop.stopped and not checkpoints.appears(settings.output_dir, max_steps, 0 if is_chief() else 600):
            raise SessionLostError(f"no checkpoint of step {max_steps} in {settings.output_dir}")
        if is_chief():
            remove_structured_start(settings.output_dir)
        self._step, self._checkpoint = max_steps, tf.train.latest_checkpoint(settings.output_dir)

    def follow(self) -> None:
        """Evaluates the run's checkpoints to the last, but for those that its follower did before."""

        def evaluate(checkpoint: str) -> None:
            self._checkpoint = checkpoint
            self.evaluate()

        following.follow(self._settings.output_dir, self._evaluated_steps(), evaluate)

    def evaluate(self) -> dict[str, Any]:
        """Evaluates the newest checkpoint; writes eval_results.{txt,json}, and best/ if it is the best so far."""
        settings, data, checkpoint = self._settings, self._run.eval_data, self._checkpoint
        assert data is not None and checkpoint is not None, "prepare() opens them for --do_eval"
        records = self._eval_records()
        steps = -(-records // settings.eval_batch_size)
        logging.info("Evaluating %s: %d batches of %d", checkpoint, steps, settings.eval_batch_size)
        values = self._estimators.estimator.evaluate(
            self._estimators.evaluation_input(data), steps=steps, checkpoint_path=checkpoint
        )
        results = {n: float(value) for n, value in values.items() if n not in ("loss", "global_step")}
        results["loss"] = results.get("span_loss", 0.0) + results.get("masked_lm_loss", 0.0)
        of = {"data": self._data_key, "records": settings.eval_input_file or settings.input_file}
        step = checkpoints.step_of(checkpoint)
        self._log.add({"kind": "eval", "step": step, **results, **of})
        self._log.plot()
        _write_results(settings.output_dir, step, results, of)
        if best := checkpoints.keep_if_best(settings.output_dir, checkpoint, {"step": step, **results, **of}):
            logging.info("Best so far on these records: kept in %s", best)
        return results


def _write_results(folder: str, step: int, results: dict[str, float], of: dict[str, str]) -> None:
    storage.write_json(storage.join(folder, "eval_results.json"), {"step": step, **results})
    values = {name: f"{value:.6g}" for name, value in sorted(results.items())}
    text = "".join(f"{name} = {value}\n" for name, value in ({"step": step} | values | of).items())
    storage.write_bytes(storage.join(folder, "eval_results.txt"), text.encode())
    for line in _in_words(results):
        logging.info("%s", line)
    logging.info("loss %.4f at step %d", results["loss"], step)


def _in_words(results: dict[str, float]) -> Iterator[str]:
    for name in ("start", "end", "exact") if "span_exact_accuracy" in results else ():
        accuracy = results[f"span_{name}_accuracy"]
        chance = results["span_exact_chance" if name == "exact" else "span_start_chance"]
        yield f"span {name} accuracy {accuracy:.3%}, chance {chance:.4%}: {accuracy / chance:.1f} times chance"
    if "masked_lm_accuracy" in results:
        yield f"masked LM accuracy {results['masked_lm_accuracy']:.3%}, loss {results['masked_lm_loss']:.4f}"
