"""Too little disk or memory is one line, before the work where that can be known."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import ExampleEncoder
from kosplinter_common.records.tfrecords import write_records
from pretraining.training import run as training
from pretraining.training.resources import checkpoints_to_come
from tests.pretraining.samples import SPEC, random_record
from tests.pretraining.training.runs import settings


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"num_train_steps": 4}, 1),
        ({"num_train_steps": 8}, 3),  # at 4 again, 6, 8
        ({"num_train_steps": 1000}, 3),  # 3 lie there; one more than 5 for a moment
        ({"num_train_steps": 1000, "keep_checkpoint_max": 1}, 1),
        ({"num_train_steps": 1000, "keep_checkpoint_max": 0}, 499),
        ({"num_train_steps": 1000, "do_eval": True}, 4),
    ],
)
def test_checkpoints_to_come(folder: Path, copied: Path, values: dict[str, Any], expected: int) -> None:
    assert len(list(copied.glob("*.index"))) == 3
    assert checkpoints_to_come(settings(folder, copied, **values), step=4) == expected


def test_best_needs_room_for_two_where_it_is_new(folder: Path, tmp_path: Path) -> None:
    given = settings(folder, tmp_path / "new", num_train_steps=100, do_eval=True)
    assert checkpoints_to_come(given, 0) == 6 + 1
    assert checkpoints_to_come(replace(given, eval_every_steps=2), 0) == 6 + 2
    assert checkpoints_to_come(replace(given, keep_checkpoint_every_steps=30), 0) == 6 + 3 + 1


def test_a_disk_too_small_ends_the_run_before_it_begins(
    folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name for file in copied.iterdir()}
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10_000))
    monkeypatch.setattr("pretraining.training.resources._gigabytes", lambda size: f"{size} B")
    with pytest.raises(InputError, match=r"found 10000 B free in \S+, expected \d+ B for 2 more .*--keep") as error:
        training.run(settings(folder, copied, num_train_steps=6))
    size = int(re.search(r"checkpoints of (\d+) B", str(error.value))[1])  # type: ignore[index]
    assert size == pytest.approx(next(copied.glob("*-4.data*")).stat().st_size, rel=0.01)
    assert {file.name for file in copied.iterdir() if not file.name.startswith("events")} <= before


def no_space() -> None:
    with tf.io.gfile.GFile("/dev/full", "w") as file:
        file.write("x")


def no_memory() -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        session.run(tf.random.uniform([1 << 20, 1 << 26]))


@pytest.mark.parametrize(
    ("exhaust", "message"),
    [
        (no_space, "--output_dir: no space left for .*: /dev/full; No space left"),
        (no_memory, r"out of memory: double --gradient_accumulation_steps \(found 1\), or lower .*: .*OOM"),
    ],
)
def test_exhaustion_is_one_line(
    folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch, exhaust: Callable[[], None], message: str
) -> None:
    monkeypatch.setattr(training.Runner, "evaluate", lambda self: exhaust())
    with pytest.raises(InputError, match=rf"^{message}[^\n]*$"):
        training.run(settings(folder, copied, do_train=False, do_eval=True))


def test_a_late_record_that_training_cannot_use_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretraining.input.record_files.RECORDS_CHECKED", 4)
    records = [random_record(np.random.default_rng(i), i) for i in range(9)]
    records[7]["input_ids"][5] = 60
    write_records(tmp_path / "r.tfrecord", map(ExampleEncoder(SPEC).encode, records))
    given = settings(folder, tmp_path / "run", input_file=str(tmp_path / "r.tfrecord"), max_seq_length=16)
    given = replace(given, max_questions_per_seq=3, max_predictions_per_seq=2)
    with pytest.raises(InputError, match=r"r\.tfrecord: record 7: input_ids: found 60, expected 0 to 59$"):
        training.run(given)
