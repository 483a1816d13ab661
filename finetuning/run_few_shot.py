"""Compares models by how many questions they need to learn from.

    python finetuning/run_few_shot.py --models A B --train_file F --predict_file G --sizes 16 128 full --num_samples 3 \
        --output_dir OUT
    python finetuning/run_few_shot.py --models A B --train_file F --split_by_article 0.7 … --output_dir OUT

Takes every flag of run_qa.py. Several GPUs do one run each at a time (--parallel_runs). OUT gets samples/, runs/,
results.json, results.md and learning_curve.png; the same command again goes on where it was interrupted, and models or
sizes may be named later: the report has all of them.
"""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line

# isort: split

from finetuning.flags import SETTINGS, make_parser, parse_settings, prepare_training_arguments
from finetuning.qa.settings import StudySettings

if TYPE_CHECKING:
    from finetuning.study.protocol import Prepared


def prepare(argv: list[str]) -> "Prepared":
    """What a command line asks for, its questions read. Processes of a study call this too.

    Raises:
      InputError: flags or files that do not fit.
    """
    parser = make_parser("run_few_shot.py", __doc__, StudySettings, *SETTINGS)
    study, model, data, schedule, arguments = parse_settings(parser, argv)
    if model.model_name_or_path:
        raise InputError("--model_name_or_path: expected --models instead")
    if not arguments.output_dir:
        raise InputError("--output_dir: found nothing, expected a folder")
    prepare_training_arguments(arguments, schedule, data, do_eval=True)
    if arguments.world_size > 1:
        raise InputError(
            f"found {arguments.world_size} processes, expected one: a study starts its own (see --parallel_runs)"
        )
    if "--save_strategy" not in " ".join(argv) and not schedule.early_stopping_patience:
        arguments.save_strategy = "no"  # a study goes on by whole runs

    from finetuning.qa.identity import RunSettings
    from finetuning.qa.run import load_run_data
    from finetuning.study.protocol import Prepared

    run_data = load_run_data(data, do_train=True, do_eval=True)
    if not any(example.labelled for example in run_data.evaluation.examples):  # type: ignore[union-attr]
        raise InputError("--predict_file: found no question whose answer is told, expected some to score")
    return Prepared(study, RunSettings(model, data, schedule), arguments, run_data)


def main() -> None:
    prepared = prepare(sys.argv[1:])

    from finetuning.qa.questions import squad_json
    from finetuning.qa.results import write_json, write_text
    from finetuning.study.protocol import run_study
    from finetuning.study.report import compare, draw_learning_curve, markdown_report, summarize

    study, data, run_data = prepared.study, prepared.settings.data, prepared.data
    output_dir = Path(prepared.arguments.output_dir or "")
    runs, description = run_study(prepared, functools.partial(prepare, sys.argv[1:]))
    assert run_data.train and run_data.evaluation
    if data.split_by_article is not None:
        write_json(output_dir / "split_train.json", squad_json(run_data.train.examples))
        write_json(output_dir / "split_predict.json", squad_json(run_data.evaluation.examples))

    metric = data.metric_names[0]
    cells = summarize(runs, metric)
    differences = compare(runs, metric, study.bootstrap_samples, study.sample_seed)
    report = markdown_report(cells, differences, len(run_data.evaluation.examples), metric)
    write_json(
        output_dir / "results.json",
        {
            "study": description,
            "cells": [dataclasses.asdict(cell) for cell in cells],
            "differences": [dataclasses.asdict(difference) for difference in differences],
            "runs": [dataclasses.asdict(run) | {"question_results": str(run.question_results)} for run in runs],
        },
    )
    write_text(output_dir / "results.md", report)
    draw_learning_curve(cells, output_dir / "learning_curve.png")
    print(report)


if __name__ == "__main__":
    exit_with_one_line(main)
