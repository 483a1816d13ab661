"""What a person sees of a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from pretraining.training.run_log import RunLog, _plot, draw_curve, duration, log_line


def row(step: int, kind: str = "train", **values: Any) -> dict[str, Any]:
    return {"kind": kind, "step": step, "loss": 2.0, "learning_rate": 1e-4, **values}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (12, "12 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273600, "3 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_log_line_tells_what_is_known_only() -> None:
    assert log_line(row(5), 1000) == "step 5 of 1,000 | loss 2.0000 | lr 1.00e-04"
    known = {"span_exact_accuracy": 0.5, "span_start_accuracy": 0.625, "masked_lm_accuracy": 0.1, "seconds_left": 61}
    known |= {"examples_per_second": 1234.56, "tokens_per_second": 600000.0, "percent_of_peak": 41.2}
    assert log_line(row(5, **known), 1000) == (
        "step 5 of 1,000 | loss 2.0000 | span exact 50.0% start 62.5% | masked LM 10.0% | lr 1.00e-04 | "
        "1,234.6 examples/s | 600,000 tokens/s | 41% of peak | 1 min 1 s left"
    )


def test_a_resumed_log_drops_steps_to_be_made_again(tmp_path: Path) -> None:
    log = RunLog(str(tmp_path), 0)
    for step in (10, 20, 30):
        log.add(row(step))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')
    resumed = RunLog(str(tmp_path), 20)
    resumed.add(row(25, "eval"))
    kept = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kept == [10, 20, 25] == [r["step"] for r in resumed.rows]


def test_curve_is_drawn_from_whatever_there_is() -> None:
    pictures = [
        draw_curve([row(1)]),
        draw_curve([row(1, span_exact_accuracy=0.1), row(2, "eval", span_exact_accuracy=0.2, span_exact_chance=0.01)]),
        draw_curve([row(1, "eval", masked_lm_accuracy=float("nan"))]),
    ]
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 5000 for picture in pictures)


def test_evaluations_on_different_records_make_no_one_line() -> None:
    axes = Figure().subplots()
    evaluated = [row(step, "eval", data=data) for step, data in ((1, "a"), (2, "a"), (2, "b"), (3, "a"))]
    _plot(axes, [row(1), row(2)], evaluated, "loss", "loss", 1.0)
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert lines == {"loss, training": [1, 2], "loss, eval a": [1, 2, 3], "loss, eval b": [2]}
