"""The few-shot protocol: random samples of the training questions, the same for every model, one run after another.

Source: Ram et al. 2021, section 5, and the table of KoSplinter: sizes 16 … 1024 and all, several samples a size, scores
on the whole evaluation set. Samples are drawn independently of each other (not nested), by seed.
"""

import copy
import dataclasses
import gc
import json
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from finetuning.qa.identity import RunSettings, check_same_run, content_hash, model_identity, run_identity
from finetuning.qa.questions import QAData, QAExample, squad_json
from finetuning.qa.results import EVAL_RESULTS, QUESTION_RESULTS, write_json
from finetuning.qa.run import RunData, run_question_answering, versions
from finetuning.qa.settings import FULL, StudySettings
from finetuning.study.parallel import places, run_in_processes
from kosplinter_common.cli import InputError
from kosplinter_common.files import read_json_object

STUDY = "study.json"
DATA_FILES = ("train_file", "predict_file")


@dataclass(frozen=True)
class Run:
    """One model on one training sample."""

    model: str
    size: str
    sample: int
    num_questions: int
    results: dict[str, Any]
    question_results: Path


def draw_sample(examples: Sequence[QAExample], size: str, sample: int, seed: int) -> list[QAExample]:
    """`size` different questions, in file order; equal arguments draw equal questions.

    Raises:
      InputError: the training set has fewer questions.
    """
    if size == FULL:
        return list(examples)
    if int(size) > len(examples):
        raise InputError(f"--sizes: found {size}, the training set has {len(examples)} questions")
    chosen = random.Random(f"few-shot {seed} {size} {sample}").sample(range(len(examples)), int(size))
    return [examples[i] for i in sorted(chosen)]


@dataclass(frozen=True)
class Prepared:
    """All that a study is made of."""

    study: StudySettings
    settings: RunSettings
    arguments: TrainingArguments
    data: RunData


def run_study(prepared: Prepared, prepare: Callable[[], Prepared]) -> tuple[list[Run], dict[str, Any]]:
    """Every run of the study, as finished_runs has them, and what the study was. Finished runs are not repeated.

    prepare: makes `prepared` anew in another process, where runs go on side by side.

    Raises:
      InputError: the output folder holds another study; a size is above the training set.
    """
    study, settings, arguments, data = prepared.study, prepared.settings, prepared.arguments, prepared.data
    assert data.train is not None and data.evaluation is not None
    output_dir = Path(arguments.output_dir or "")
    samples = {
        (size, sample): draw_sample(data.train.examples, size, sample, study.sample_seed)
        for size in study.sizes
        for sample in range(1 if size == FULL else study.num_samples)
    }
    description = _claim_study(output_dir, study, settings, arguments, data)
    jobs = [
        Job(model, name, *place) for place in samples for model, name in zip(study.models, study.names, strict=True)
    ]
    for (size, sample), examples in samples.items():
        write_json(output_dir / "samples" / f"{size}-{sample}.json", squad_json(examples))
    waiting = []
    for job in jobs:
        own, own_arguments, run_dir = _of_run(job, prepared)
        if (run_dir / EVAL_RESULTS).is_file():
            check_same_run(
                run_dir, run_identity(own, own_arguments, samples[job.size, job.sample], data.evaluation.examples)
            )
        else:
            waiting.append(job)
    environments = places(study.parallel_runs, arguments.use_cpu)[: len(waiting)]
    if environments in ([], [{}]):
        for job in waiting:
            run_job(prepared, job)
    else:
        run_in_processes(prepare, run_job, waiting, environments)
    return finished_runs(output_dir), description


def finished_runs(output_dir: Path) -> list[Run]:
    """Every run that a study's folder holds, of earlier commands too, in order of size, sample, model."""
    runs_dir, runs = output_dir / "runs", []
    named = list(read_json_object(output_dir / STUDY, "what a study notes")["models"])
    for path in runs_dir.rglob(EVAL_RESULTS):
        name = str(path.parent.parent.relative_to(runs_dir))
        size, _, sample = path.parent.name.rpartition("-")
        asked = read_json_object(output_dir / "samples" / f"{path.parent.name}.json", "a sample's questions")
        count = sum(len(paragraph["qas"]) for article in asked["data"] for paragraph in article["paragraphs"])
        results = read_json_object(path, "the scores of a run")
        runs.append(Run(name, size, int(sample), count, results, path.with_name(QUESTION_RESULTS)))
    order = [*named, *sorted({run.model for run in runs} - set(named))]  # studies of old did not note their models
    return sorted(runs, key=lambda run: (run.size == FULL, run.num_questions, run.sample, order.index(run.model)))


@dataclass(frozen=True)
class Job:
    """A run that is to be done; `name` is the model's in the report."""

    model: str
    name: str
    size: str
    sample: int


def run_job(prepared: Prepared, job: Job) -> None:
    """One run, from its sample to its scores."""
    study, data = prepared.study, prepared.data
    assert data.train is not None
    print(f"{job.name}: {job.size} questions, sample {job.sample}", file=sys.stderr)
    settings, arguments, run_dir = _of_run(job, prepared)
    examples = draw_sample(data.train.examples, job.size, job.sample, study.sample_seed)
    run_question_answering(settings, arguments, RunData(QAData(examples), data.evaluation))
    _tidy(run_dir, study.keep_models)


def _of_run(job: Job, prepared: Prepared) -> tuple[RunSettings, TrainingArguments, Path]:
    """The study's settings as one run has them, and its folder."""
    arguments, settings = copy.deepcopy(prepared.arguments), prepared.settings
    run_dir = Path(arguments.output_dir or "") / "runs" / job.name / f"{job.size}-{job.sample}"
    arguments.output_dir = str(run_dir)
    arguments.seed += job.sample
    if job.size == FULL:
        arguments.num_train_epochs = prepared.study.full_epochs
    model_settings = dataclasses.replace(settings.model, model_name_or_path=job.model)
    return dataclasses.replace(settings, model=model_settings), arguments, run_dir


def _tidy(run_dir: Path, keep_models: bool) -> None:
    gc.collect()
    if not keep_models:
        for weights in run_dir.glob("*.safetensors"):
            weights.unlink()
        for checkpoint in run_dir.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)


def _claim_study(
    output_dir: Path, study: StudySettings, settings: RunSettings, arguments: TrainingArguments, data: RunData
) -> dict[str, Any]:
    """What all runs share. Models, sizes and samples may be added to a study; anything else makes it another one.

    Data counts by its content, not by the names of its files.
    """
    assert data.train is not None and data.evaluation is not None
    shared = run_identity(settings, arguments, data.train.examples)
    shared |= dataclasses.asdict(settings.data) | {"evaluation_sha256": content_hash(data.evaluation.examples)}
    shared["null_score_diff_threshold"] = settings.data.null_threshold
    shared |= {"sample_seed": study.sample_seed, "full_epochs": study.full_epochs, "versions": versions()}
    models = {name: model_identity(model) for name, model in zip(study.names, study.models, strict=True)}
    path, known = output_dir / STUDY, {}
    if path.is_file():
        previous = read_json_object(path, "what a study notes")
        for key, value in json.loads(json.dumps(shared)).items():
            if key not in DATA_FILES and previous.get(key) != value:
                found = f"found {key} {previous.get(key)!r}, expected {value!r}"
                raise InputError(f"{output_dir} holds another study: {found}; choose another folder")
        known = previous.get("models", {})
        for name in models.keys() & known.keys():
            for key, value in models[name].items():
                if known[name][key] != value:
                    found = f"found {key} {known[name][key]!r}, expected {value!r}"
                    raise InputError(f"{output_dir}: {name} holds another run: {found}; name it with --model_names")
    elif output_dir.is_dir() and any(output_dir.iterdir()):
        raise InputError(f"{output_dir}: found files of something else, expected an empty folder")
    write_json(path, shared | {"models": known | models})
    return shared
