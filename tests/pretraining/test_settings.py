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
        ({"use_tpu": True, "distribution": "mirrored"}, "--distribution: found mirrored, expected auto or none"),
        ({"eval_follow": True}, "--eval_follow: found --do_train beside it, expected --do_eval alone"),
        ({"do_train": False, "eval_follow": True}, "neither --do_train nor --do_eval"),
        ({"keep_checkpoint_every_steps": -1}, "--keep_checkpoint_every_steps: found -1, expected 0 or more"),
        ({"num_train_steps": 5, "num_warmup_steps": 6}, "--num_warmup_steps: found 6, expected at most"),
        (
            {"recurring_span_selection": False, "only_recurring_span_selection": True},
            "needs --recurring_span_selection",
        ),
    ],
)
def test_flags_that_disagree(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings(**values)


@pytest.mark.parametrize(
    ("spans", "only", "in_dataset", "expected"),
    [
        (False, False, (3, 2), (0, 2)),
        (True, False, (3, 2), (3, 2)),
        (True, True, (3, 2), (3, 0)),
        (None, None, (3, 2), (3, 2)),
        (None, None, (3, 0), (3, 0)),
        (None, None, (0, 2), (0, 2)),
        (True, None, (3, 0), (3, 0)),
        (True, None, (3, 2), (3, 2)),
        (None, True, (3, 2), (3, 0)),
        (None, False, (3, 0), (3, 30)),  # contradicts the records: open_dataset says so
        (False, None, (3, 0), (0, 30)),
        (None, True, (0, 2), (30, 0)),
        (None, None, None, (0, 30)),
        (True, None, None, (30, 30)),
        (None, True, None, (30, 0)),
    ],
)
def test_objectives_follow_the_flags_then_the_records(
    spans: bool | None, only: bool | None, in_dataset: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    given = settings(recurring_span_selection=spans, only_recurring_span_selection=only)
    spec = given.record_spec(RecordSpec(512, *in_dataset) if in_dataset else None)
    assert (spec.max_questions_per_seq, spec.max_predictions_per_seq) == expected and spec.max_seq_length == 512


def test_lengths_come_from_flags_then_dataset_then_paper() -> None:
    in_dataset = RecordSpec(128, 19, 0)
    both = settings(recurring_span_selection=True, only_recurring_span_selection=False, max_questions_per_seq=7)
    assert both.record_spec(in_dataset) == RecordSpec(128, 7, 30)
    assert settings(max_seq_length=64).record_spec(in_dataset) == RecordSpec(64, 19, 0)
