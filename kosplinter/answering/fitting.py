"""Few-shot learning by run_qa.py's own code: a run for each seed, the best kept."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetuning.flags import SETTINGS, make_parser, parse_settings, prepare_training_arguments
from finetuning.qa.identity import RunSettings
from finetuning.qa.run import load_run_data, run_question_answering
from finetuning.qa.usage import THRESHOLD
from kosplinter.engine.use import UseSettings
from kosplinter_common.cli import InputError

PATIENCE = 10  # epochs without a better F1 on the validation questions
NOT_FLAGS = ("model_name_or_path", "train_file", "predict_file", "output_dir", "do_train", "do_eval", "seed")


def fit_model(
    source: str,
    use: UseSettings,
    questions: str,
    validation: str | Path | None,
    output_dir: Path,
    seeds: Sequence[int],
    flags: dict[str, Any],
) -> tuple[Path, dict[str, Any]]:
    """The folder of the best model, and its scores with its seed.

    Raises:
      InputError: no seed, several without validation, or a flag that run_qa.py has not or that fit sets itself.
    """
    if not seeds or (len(seeds) > 1 and validation is None):
        expected = "at least one" if not seeds else "validation questions to choose the best by"
        raise InputError(f"seeds: found {list(seeds)}, expected {expected}")
    own = [name for name in flags if name in NOT_FLAGS]
    if own:
        raise InputError(f"{own[0]}: fit sets it itself, expected another flag of run_qa.py")
    runs = []
    for seed in seeds:
        folder = output_dir / f"seed-{seed}" if len(seeds) > 1 else output_dir
        results = _run(_arguments(source, use, questions, validation, folder, seed, flags), validation is not None)
        runs.append((folder, results | {"seed": seed}))
    f1 = next((name for name in runs[0][1] if name.endswith("_f1")), None)
    return max(runs, key=lambda run: run[1][f1]) if f1 else runs[0]


def _arguments(
    source: str,
    use: UseSettings,
    questions: str,
    validation: str | Path | None,
    folder: Path,
    seed: int,
    flags: dict[str, Any],
) -> list[str]:
    settings: dict[str, Any] = dataclasses.asdict(use)
    del settings[THRESHOLD]  # it belongs to what the model learned before
    settings |= {"model_name_or_path": source, "train_file": questions, "output_dir": str(folder), "seed": seed}
    settings |= {"do_train": True}
    if validation is not None:
        settings |= {"do_eval": True, "predict_file": str(validation)}
        settings |= {"evaluate_every_epoch": True, "early_stopping_patience": PATIENCE}
    return [f"--{name}={value}" for name, value in (settings | flags).items()]


def _run(argv: list[str], do_eval: bool) -> dict[str, Any]:
    try:
        parser = make_parser("fit", None, *SETTINGS)
        model, data, schedule, arguments = parse_settings(parser, argv)
    except SystemExit as error:  # argparse has said on the error stream what is wrong
        raise InputError("fit: a flag that run_qa.py does not take, or with a value it does not take") from error
    prepare_training_arguments(arguments, schedule, data, do_eval)
    run_data = load_run_data(data, do_train=True, do_eval=do_eval)
    return run_question_answering(RunSettings(model, data, schedule), arguments, run_data)
