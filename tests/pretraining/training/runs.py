"""Flags of small runs, and what they log."""

import json
from pathlib import Path
from typing import Any

from pretraining.settings import PretrainingSettings

RECORDS = 21  # held out


def settings(folder: Path, output: Path, **values: Any) -> PretrainingSettings:
    given: dict[str, Any] = {
        "bert_config_file": str(folder / "config.json"),
        "output_dir": str(output),
        "input_file": f"{folder}/train/*.tfrecord",
        "eval_input_file": f"{folder}/eval/*.tfrecord",
        "do_train": True,
        "train_batch_size": 4,
        "eval_batch_size": 8,
        "learning_rate": 1e-3,
        "num_train_steps": 4,
        "num_warmup_steps": 1,
        "save_checkpoints_steps": 2,
        "log_steps": 2,
        "recurring_span_selection": True,
    }
    return PretrainingSettings(**{**given, **values})


def rows(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
