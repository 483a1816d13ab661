"""Flags that cannot be, and what objectives and lengths they ask for."""

from typing import Any

import pytest

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import RecordSpec
from pretraining.settings import PretrainingSettings


def settings(**values: Any) -> PretrainingSettings:
    given = {"bert_config_file": "c.json", "output_dir": "o", "input_file": "r", "do_train": True}
    return PretrainingSettings(**{**given, **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"do_train": False}, "neither --do_train nor --do_eval"),
        ({"input_file": ""}, "--input_file: found nothing"),
        ({"train_batch_size": 0}, "--train_batch_size: found 0, expected more than 0"),
        ({"learning_rate": -1.0}, "--learning_rate: found -1.0"),
        ({"max_eval_steps": -1}, "--max_eval_steps: found -1, expected 0 or more"),
        ({"max_questions_per_seq": 0}, "--max_questions_per_seq: found 0, expected more than 0"),
        ({"use_tpu": True, "train_batch_size": 12}, "--train_batch_size: found 12, expected a multiple of 8 cores"),
        ({"use_tpu": True, "eval_batch_size": 12}, "--eval_batch_size: found 12, expected a multiple of 8 cores"),
        ({"train_batch_size": 9, "gradient_accumulation_steps": 2}, "--train_batch_size: found 9"),
        ({"num_train_steps": 5, "num_warmup_steps": 6}, "--num_warmup_steps: found 6, expected at most"),
        ({"only_recurring_span_selection": True}, "needs --recurring_span_selection"),
    ],
)
def test_flags_that_disagree(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings(**values)


@pytest.mark.parametrize(
    ("spans", "only", "expected"),
    [(False, False, (0, 30)), (True, False, (30, 30)), (True, True, (30, 0))],
)
def test_objectives(spans: bool, only: bool, expected: tuple[int, int]) -> None:
    spec = settings(recurring_span_selection=spans, only_recurring_span_selection=only).record_spec(None)
    assert (spec.max_questions_per_seq, spec.max_predictions_per_seq) == expected and spec.max_seq_length == 512


def test_lengths_come_from_flags_then_dataset_then_paper() -> None:
    in_dataset = RecordSpec(128, 19, 0)
    both = settings(recurring_span_selection=True, max_questions_per_seq=7)
    assert both.record_spec(in_dataset) == RecordSpec(128, 7, 30)
    assert settings(max_seq_length=64).record_spec(in_dataset) == RecordSpec(64, 0, 30)
