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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from finetuning.qa.identity import RunSettings, check_same_run, content_hash, run_identity
from finetuning.qa.questions import QAData, QAExample, squad_json
from finetuning.qa.results import EVAL_RESULTS, QUESTION_RESULTS, write_json
from finetuning.qa.run import RunData, run_question_answering, versions
from finetuning.qa.settings import FULL, StudySettings
from kosplinter_common.cli import InputError

STUDY = "study.json"


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


def run_study(
    study: StudySettings, settings: RunSettings, arguments: TrainingArguments, data: RunData
) -> tuple[list[Run], dict[str, Any]]:
    """All runs in order of size, sample, model, and what the study was. Finished runs are read, not repeated.

    Raises:
      InputError: the output folder holds another study; a size is above the training set.
    """
    assert data.train is not None and data.evaluation is not None
    output_dir = Path(arguments.output_dir or "")
    samples = {
        (size, sample): draw_sample(data.train.examples, size, sample, study.sample_seed)
        for size in study.sizes
        for sample in range(1 if size == FULL else study.num_samples)
    }
    description = _claim_study(output_dir, study, settings, arguments, data)
    runs = []
    for number, ((size, sample), examples) in enumerate(samples.items()):
        write_json(output_dir / "samples" / f"{size}-{sample}.json", squad_json(examples))
        for model, name in zip(study.models, study.names, strict=True):
            print(f"{name}: {size} questions, sample {sample} ({number + 1} of {len(samples)})", file=sys.stderr)
            run_dir = output_dir / "runs" / name / f"{size}-{sample}"
            own, own_arguments = _of_run(model, size, sample, run_dir, study, settings, arguments)
            if (run_dir / EVAL_RESULTS).is_file():
                check_same_run(run_dir, run_identity(own, own_arguments, examples))
            else:
                run_question_answering(own, own_arguments, RunData(QAData(examples), data.evaluation))
                _tidy(run_dir, study.keep_models)
            results = json.loads((run_dir / EVAL_RESULTS).read_text(encoding="utf-8"))
            runs.append(Run(name, size, sample, len(examples), results, run_dir / QUESTION_RESULTS))
    return runs, description


def _of_run(
    model: str,
    size: str,
    sample: int,
    run_dir: Path,
    study: StudySettings,
    settings: RunSettings,
    arguments: TrainingArguments,
) -> tuple[RunSettings, TrainingArguments]:
    """The study's settings as one run has them."""
    arguments = copy.deepcopy(arguments)
    arguments.output_dir = str(run_dir)
    arguments.seed += sample
    if size == FULL:
        arguments.num_train_epochs = study.full_epochs
    model_settings = dataclasses.replace(settings.model, model_name_or_path=model)
    return dataclasses.replace(settings, model=model_settings), arguments


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
    """What all runs share. Models, sizes and samples may be added to a study; anything else makes it another one."""
    assert data.train is not None and data.evaluation is not None
    shared = run_identity(settings, arguments, data.train.examples)
    shared |= dataclasses.asdict(settings.data) | {"evaluation_sha256": content_hash(data.evaluation.examples)}
    shared |= {"sample_seed": study.sample_seed, "full_epochs": study.full_epochs, "versions": versions()}
    path = output_dir / STUDY
    if path.is_file():
        previous = json.loads(path.read_text(encoding="utf-8"))
        for key, value in json.loads(json.dumps(shared)).items():
            if previous.get(key) != value:
                found = f"found {key} {previous.get(key)!r}, expected {value!r}"
                raise InputError(f"{output_dir} holds another study: {found}; choose another folder")
    elif output_dir.is_dir() and any(output_dir.iterdir()):
        raise InputError(f"{output_dir}: found files of something else, expected an empty folder")
    write_json(path, shared)
    return shared
