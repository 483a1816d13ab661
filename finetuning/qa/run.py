"""One fine-tuning run: data → features → Trainer → answers → scores, resumable, in one output folder."""

import dataclasses
import math
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed

from finetuning.qa.decoding import DecodingSettings
from finetuning.qa.dropout import draw_on_all_cores
from finetuning.qa.export import save_model, write_card
from finetuning.qa.features import FeatureSettings, QAFeatures, build_features
from finetuning.qa.identity import (
    DATA_REPORT,
    TRAIN_RESULTS,
    RunSettings,
    check_output_of_evaluation,
    check_same_run,
    clear,
    last_checkpoint,
    run_identity,
)
from finetuning.qa.model import QAModel, load_qa_model
from finetuning.qa.precision import dtype_name, evaluation_dtype, training_dtype
from finetuning.qa.questions import (
    Fault,
    QAData,
    has_unanswerable,
    load_questions,
    split_by_article,
)
from finetuning.qa.results import (
    EVAL_RESULTS,
    NBEST,
    PREDICTIONS,
    QUESTION_RESULTS,
    question_rows,
    score_run,
    write_json,
    write_jsonl,
)
from finetuning.qa.settings import DataSettings, ScheduleSettings
from finetuning.qa.trainer import QATrainer
from finetuning.qa.usage import RUN_SETTINGS, note_best_threshold, note_usage
from kosplinter_common.cli import InputError
from kosplinter_common.files import read_json_object, refusing_code


@dataclass(frozen=True)
class RunData:
    """Questions to learn from and to answer, either may be missing."""

    train: QAData | None
    evaluation: QAData | None


def load_run_data(settings: DataSettings, do_train: bool, do_eval: bool) -> RunData:
    """Reads, splits and caps the questions.

    Raises:
      InputError: a file that is asked for is not named, or cannot be read.
    """
    needs_train = do_train or settings.split_by_article is not None
    if needs_train and not settings.train_file:
        raise InputError("--train_file: found nothing, expected questions to learn from")
    if do_eval and not settings.predict_file and settings.split_by_article is None:
        raise InputError("--predict_file: found nothing, expected questions to answer")
    train = load_questions(settings.train_file) if needs_train and settings.train_file else None
    evaluation = load_questions(settings.predict_file) if do_eval and settings.predict_file else None
    if train is not None and settings.split_by_article is not None:
        learn, answer = split_by_article(train.examples, settings.split_by_article, settings.split_seed)
        faults, prepared = train.faults, train.prepared_questions
        train, evaluation = QAData(learn, faults, prepared), QAData(answer, faults, prepared)
    if train is not None:
        train.examples = train.examples[: settings.max_train_samples]
    if evaluation is not None:
        evaluation.examples = evaluation.examples[: settings.max_eval_samples]
    return RunData(train if do_train else None, evaluation if do_eval else None)


def run_question_answering(settings: RunSettings, arguments: TrainingArguments, data: RunData) -> dict[str, Any]:
    """Trains where `data.train` is given, answers where `data.evaluation` is; returns the scores, if any.

    A run that was interrupted goes on from its last checkpoint; a finished training is not repeated.

    Raises:
      InputError: the output folder holds another run; model, data and settings disagree.
    """
    output_dir, overwrite = Path(arguments.output_dir or ""), settings.schedule.overwrite_output_dir
    evaluated = data.evaluation.examples if data.evaluation else None
    identity = run_identity(settings, arguments, data.train.examples, evaluated) if data.train else None
    if identity is None:
        check_output_of_evaluation(output_dir, settings)
    elif not overwrite:
        check_same_run(output_dir, identity)
    set_seed(arguments.seed)
    trained = data.train is not None and (output_dir / TRAIN_RESULTS).is_file() and not overwrite
    model_settings = settings.model
    if trained:
        print(f"{output_dir}: already trained with these settings; its model answers", file=sys.stderr)
        model_settings = dataclasses.replace(model_settings, model_name_or_path=str(output_dir), tokenizer_name=None)
        model_settings = dataclasses.replace(model_settings, model_type=None, initialize_new_qass=False)
    qa_model = load_qa_model(model_settings, settings.data.max_seq_length)
    train_features = None if trained or not data.train else _features(data.train, qa_model, settings.data, True)
    eval_features = _features(data.evaluation, qa_model, settings.data, False) if data.evaluation else None
    if train_features is not None and len(train_features) == 0:
        raise InputError(f"no question to learn from is usable: {train_features.fault_counts()}")
    null_threshold = _null_threshold(settings.data, data)
    trainer = _make_trainer(settings, arguments, qa_model, train_features, eval_features, null_threshold)
    trainer.accelerator.wait_for_everyone()  # all processes have looked at the folder before one writes to it
    if trainer.is_world_process_zero():
        if identity is not None:
            if overwrite:  # only now, when nothing is left that could be wrong with the new run
                clear(output_dir)
            write_json(output_dir / RUN_SETTINGS, identity)
        _write_data_report(output_dir, data, train_features, eval_features)
    trainer.accelerator.wait_for_everyone()
    if train_features is not None:
        assert data.train is not None
        note_usage(qa_model.model.config, model_settings, settings.data, has_unanswerable(data.train.examples))
        _train(trainer, qa_model, output_dir, len(train_features))
    results: dict[str, Any] = {}
    if data.evaluation is not None and eval_features is not None:
        results = _evaluate(trainer, settings, data, eval_features, output_dir)
    if data.train is not None and trainer.is_world_process_zero():
        if "best_null_threshold" in results:
            source = f"best {results['best_null_threshold_metric']} of the evaluation"
            note_best_threshold(output_dir, results["best_null_threshold"], source)
        base, hide_sep = settings.model.model_name_or_path, model_settings.hide_sep
        write_card(output_dir, qa_model, hide_sep, settings.data, base, null_threshold)
    return results


def _features(data: QAData, qa_model: QAModel, settings: DataSettings, with_labels: bool) -> QAFeatures:
    sizes = FeatureSettings(settings.max_seq_length, settings.doc_stride, settings.max_query_length)
    return build_features(data.examples, qa_model.offset_tokenizer, qa_model.template, sizes, with_labels)


def _make_trainer(
    settings: RunSettings,
    arguments: TrainingArguments,
    qa_model: QAModel,
    train_features: QAFeatures | None,
    eval_features: QAFeatures | None,
    null_threshold: float | None,
) -> QATrainer:
    schedule, data = settings.schedule, settings.data
    if train_features is not None:
        fit_steps(arguments, schedule, len(train_features))
        if arguments.device.type == "cpu":
            draw_on_all_cores(qa_model.model)
    decoding = DecodingSettings(data.max_answer_length, data.n_best_size, with_null=null_threshold is not None)
    callbacks = []
    if schedule.early_stopping_patience:
        callbacks.append(EarlyStoppingCallback(schedule.early_stopping_patience))

    def score(trainer: QATrainer) -> dict[str, float]:
        assert eval_features is not None
        decoded = trainer.decode(eval_features, decoding)
        return score_run(decoded, eval_features.examples, data.metric_names, null_threshold)[2]

    try:
        QATrainer.get_optimizer_cls_and_kwargs(arguments, qa_model.model)  # else asked for when the run has begun
        return QATrainer(
            qa_model.model,
            arguments,
            template=qa_model.template,
            score=score,
            train_dataset=train_features,
            eval_dataset=eval_features,
            processing_class=qa_model.tokenizer,
            callbacks=callbacks,
        )
    except (ImportError, RuntimeError, ValueError) as error:  # a package that --report_to or --optim needs is not there
        raise InputError(str(error)) from error


def fit_steps(arguments: TrainingArguments, schedule: ScheduleSettings, num_windows: int) -> None:
    """At least min_steps; the warm-up as a share of all steps, unless --warmup_steps says a number."""
    batches = math.ceil(num_windows / (arguments.train_batch_size * arguments.world_size))
    steps_per_epoch = math.ceil(batches / arguments.gradient_accumulation_steps)
    steps = arguments.max_steps if arguments.max_steps > 0 else math.ceil(arguments.num_train_epochs * steps_per_epoch)
    if arguments.max_steps <= 0 and steps < schedule.min_steps:
        arguments.max_steps = steps = schedule.min_steps
    if not arguments.warmup_steps:
        arguments.warmup_steps = math.ceil(schedule.warmup_ratio * steps)


def _train(trainer: QATrainer, qa_model: QAModel, output_dir: Path, num_windows: int) -> None:
    given = trainer.args.resume_from_checkpoint
    checkpoint = Path(given) if given else last_checkpoint(output_dir)
    if checkpoint is not None:
        print(f"going on from {checkpoint}", file=sys.stderr)
    with refusing_code(checkpoint or output_dir):
        output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.is_world_process_zero():
        save_model(trainer.accelerator.unwrap_model(trainer.model), qa_model.tokenizer, output_dir)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        write_json(
            output_dir / TRAIN_RESULTS,
            output.metrics
            | {"steps": trainer.state.global_step, "windows": num_windows}
            | {"dtype": dtype_name(training_dtype(trainer.args))}
            | {"first_logged_loss": losses[0] if losses else None, "last_logged_loss": losses[-1] if losses else None}
            | peak_memory(),
        )


def _null_threshold(settings: DataSettings, data: RunData) -> float | None:
    """The threshold of "no answer", or None: a question is left without one only where some may have none.

    Those are questions that are said to have none; questions whose answer is not told, if the model learned that some
    have none or a threshold is noted in it or given.
    """
    if data.evaluation is None:
        return None
    learned = data.train is not None and has_unanswerable(data.train.examples)
    untold = any(not example.labelled for example in data.evaluation.examples)
    if has_unanswerable(data.evaluation.examples):
        return settings.null_threshold
    return settings.null_threshold if untold and (learned or settings.null_score_diff_threshold is not None) else None


def _evaluate(
    trainer: QATrainer,
    settings: RunSettings,
    run_data: RunData,
    features: QAFeatures,
    output_dir: Path,
) -> dict[str, Any]:
    started, data, examples = time.perf_counter(), settings.data, features.examples
    null_threshold = _null_threshold(data, run_data)
    decoding = DecodingSettings(data.max_answer_length, data.n_best_size, with_null=null_threshold is not None)
    decoded = trainer.decode(features, decoding)
    predictions, nbest, results = score_run(decoded, examples, data.metric_names, null_threshold)
    results |= {
        "model": settings.model.model_name_or_path,
        "questions_without_window": len(examples) - len(decoded),
        "windows": len(features),
        "seconds": time.perf_counter() - started,
        "seed": trainer.args.seed,
        "dtype": dtype_name(evaluation_dtype(trainer.args)),
        "versions": versions(),
        "epochs": [entry for entry in trainer.state.log_history if "eval_total" in entry],
        **peak_memory(),
    }
    if trainer.is_world_process_zero():
        write_json(output_dir / PREDICTIONS, predictions)
        write_json(output_dir / NBEST, nbest)
        write_jsonl(output_dir / QUESTION_RESULTS, question_rows(predictions, decoded, features, data.metric_names))
        write_json(output_dir / EVAL_RESULTS, results)
    return results


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}


def peak_memory() -> dict[str, int]:
    """Peak resident memory of this process so far and, with a GPU, of the device, in MiB."""
    peak = {"peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    if torch.cuda.is_available():
        peak["peak_gpu_memory_mib"] = torch.cuda.max_memory_allocated() // 2**20
    return peak


def _write_data_report(
    output_dir: Path, data: RunData, train_features: QAFeatures | None, eval_features: QAFeatures | None
) -> None:
    """Counts and lists what could not be used as it stood, and prints the share of answers that features give back."""
    path = output_dir / DATA_REPORT  # of a training that was finished before, its own part stays
    report = read_json_object(path, "what became of the data") if path.is_file() else {}
    for name, part, features in (("train", data.train, train_features), ("predict", data.evaluation, eval_features)):
        if part is None or features is None:
            continue
        faults: list[Fault] = part.faults + features.faults
        report[name] = {
            "questions": len(part.examples),
            "windows": len(features),
            "prepared_questions": part.prepared_questions,
            "fault_counts": part.fault_counts() | features.fault_counts(),
            "faults": [dataclasses.asdict(fault) for fault in faults],
        }
        print(f"{name}: {len(part.examples)} questions, {len(features)} windows", file=sys.stderr, end="")
        if name == "train":
            lost = {fault.id for fault in features.faults if fault.reason != "question_truncated"}
            share = 100 * (1 - len(lost) / max(len(part.examples), 1))
            report[name]["answers_found_again_percent"] = share
            print(f", {share:.2f}% of the answers found again from their features", file=sys.stderr, end="")
        counts = report[name]["fault_counts"]
        print(f"; {counts or 'no faults'} ({path})", file=sys.stderr)
    write_json(path, report)
