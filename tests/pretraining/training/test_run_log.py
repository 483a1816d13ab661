"""What a person sees of a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from pretraining.training import run_log
from pretraining.training.run_log import FOLLOWER_METRICS_FILE, RunLog, _plot, draw_curve, duration, log_line


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


def drawn(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[float, float]]]:
    """{label: points} of the lines in the picture."""
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **more: figures.append(self) or save(self, *args, **more)
    )
    assert draw_curve(rows).startswith(b"\x89PNG")
    lines = [line for axes in figures[0].axes for line in axes.get_lines()]
    return {line.get_label(): [(float(x), float(y)) for x, y in line.get_xydata()] for line in lines}


def test_curve_shows_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(1, span_exact_accuracy=0.1), row(4, loss=1.5), {"kind": "change", "step": 4, "name": "n"}]
    rows.append(row(4, "eval", loss=1.25, span_exact_accuracy=0.2, span_exact_chance=0.01))
    assert drawn(rows, monkeypatch) == {
        "loss, training": [(1, 2.0), (4, 1.5)],
        "loss, eval": [(4, 1.25)],
        "span exact, training": [(1, 10.0)],
        "span exact, eval": [(4, 20.0)],
        "chance, exact: 1.000%": [(0, 1.0), (1, 1.0)],
    }
    nothing = drawn([row(1, "eval", masked_lm_accuracy=float("nan"))], monkeypatch)
    assert nothing == {"loss, eval": [(1, 2.0)]}


def test_the_curve_of_a_run_and_its_follower_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, follower = RunLog(str(tmp_path), 0), RunLog(str(tmp_path), None, FOLLOWER_METRICS_FILE)
    trainer.add(row(2))
    follower.add(row(2, "eval", loss=3.0))
    seen = []
    monkeypatch.setattr(run_log, "draw_curve", lambda rows: seen.append([r["loss"] for r in rows]) or b"png")
    for log in (trainer, follower):
        log.plot()
    assert [sorted(losses) for losses in seen] == [[2.0, 3.0]] * 2
    assert (tmp_path / "training_curve.png").read_bytes() == b"png"


def test_evaluations_on_different_records_make_no_one_line() -> None:
    axes = Figure().subplots()
    evaluated = [row(step, "eval", data=data) for step, data in ((1, "a"), (2, "a"), (2, "b"), (3, "a"))]
    _plot(axes, [row(1), row(2)], evaluated, "loss", "loss", 1.0)
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert lines == {"loss, training": [1, 2], "loss, eval a": [1, 2, 3], "loss, eval b": [2]}
