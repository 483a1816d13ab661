"""What a person sees of a run: a line for each interval, metrics.jsonl, and training_curve.png."""

import io
import json
import math
from collections.abc import Iterable
from itertools import cycle
from typing import Any

import tensorflow as tf

from pretraining.input import storage

METRICS_FILE = "metrics.jsonl"
FOLLOWER_METRICS_FILE = "metrics_follow.jsonl"  # of an evaluator that follows the run
CURVE_FILE = "training_curve.png"


class RunLog:
    """metrics.jsonl in a run's folder: one JSON object a line, {"step": …, "kind": "train", "eval" or "change", …}.

    Lines behind the step from which a run goes on are dropped: those steps are about to be made again. Who only reads
    or evaluates gives no such step.
    """

    def __init__(self, folder: str, from_step: int | None, file: str = METRICS_FILE) -> None:
        self._path = storage.join(folder, file)
        self._others = [storage.join(folder, name) for name in (METRICS_FILE, FOLLOWER_METRICS_FILE) if name != file]
        self._folder = folder
        self.rows = [row for row in _read(self._path) if from_step is None or row["step"] <= from_step]
        if from_step is not None:
            self._write()

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with tf.io.gfile.GFile(self._path, "a") as file:
            file.write(_line(row))

    def _write(self) -> None:
        storage.write_bytes(self._path, "".join(map(_line, self.rows)).encode())

    def plot(self) -> None:
        """Writes training_curve.png, of this process's rows and of those that another writes beside it."""
        rows = [*self.rows, *(row for path in self._others for row in _read(path))]
        if rows:
            rows.sort(key=lambda row: row["step"])
            storage.write_bytes(storage.join(self._folder, CURVE_FILE), draw_curve(rows))


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True) + "\n"


def _read(path: str) -> Iterable[dict[str, Any]]:
    """Rows that are whole: a killed run may leave half a line at the end."""
    if not tf.io.gfile.exists(path):
        return
    for line in storage.read_text(path).splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def log_line(row: dict[str, Any], num_train_steps: int) -> str:
    """One interval in words: step, loss, accuracy, speed, percent of peak, time left."""
    parts = [f"step {row['step']:,} of {num_train_steps:,}", f"loss {row['loss']:.4f}"]
    if "span_exact_accuracy" in row:
        parts.append(f"span exact {row['span_exact_accuracy']:.1%} start {row['span_start_accuracy']:.1%}")
    if "masked_lm_accuracy" in row:
        parts.append(f"masked LM {row['masked_lm_accuracy']:.1%}")
    parts.append(f"lr {row['learning_rate']:.2e}")
    if "examples_per_second" in row:
        parts.append(f"{row['examples_per_second']:,.1f} examples/s")
        parts.append(f"{row['tokens_per_second']:,.0f} tokens/s")
    if "percent_of_peak" in row:
        parts.append(f"{row['percent_of_peak']:.0f}% of peak")
    if "seconds_left" in row:
        parts.append(f"{duration(row['seconds_left'])} left")
    return " | ".join(parts)


def duration(seconds: float) -> str:
    """3 d 4 h, 2 h 5 min, 3 min 20 s or 12 s."""
    whole = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for index, (unit, size) in enumerate(units):
        if whole >= size:
            text = f"{whole // size} {unit}"
            if index + 1 < len(units) and (rest := whole % size // units[index + 1][1]):
                text += f" {rest} {units[index + 1][0]}"
            return text
    return "0 s"


def draw_curve(rows: list[dict[str, Any]]) -> bytes:
    """PNG: loss above, accuracies in percent below, of training (lines) and eval (points), with chance dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train = [row for row in rows if row["kind"] == "train"]
    evaluated = [row for row in rows if row["kind"] == "eval"]
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True)
    _plot(top, train, evaluated, "loss", "loss", 1.0)
    for name, label in (
        ("span_exact_accuracy", "span exact"),
        ("span_start_accuracy", "span start"),
        ("masked_lm_accuracy", "masked LM"),
    ):
        _plot(bottom, train, evaluated, name, label, 100.0)
    chances = [row["span_exact_chance"] for row in evaluated if "span_exact_chance" in row]
    if chances:
        bottom.axhline(100 * chances[-1], linestyle="--", color="gray", label=f"chance, exact: {chances[-1]:.3%}")
    top.set_ylabel("loss (nats)")
    bottom.set_ylabel("accuracy (%)")
    bottom.set_ylim(bottom=0)
    bottom.set_xlabel("step")
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _plot(axes: Any, train: list[dict], evaluated: list[dict], name: str, label: str, scale: float) -> None:
    def points(rows: list[dict]) -> tuple[list[int], list[float]]:
        found = [(row["step"], scale * row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
        return [step for step, _ in found], [value for _, value in found]

    steps, values = points(train)
    color = None
    if steps:
        (line,) = axes.plot(steps, values, label=f"{label}, training")
        color = line.get_color()
    kinds = dict.fromkeys(row.get("data") for row in evaluated)  # scores on different records make no one line
    for kind, marker in zip(kinds, cycle("osv^"), strict=False):
        steps, values = points([row for row in evaluated if row.get("data") == kind])
        if steps:
            of = f", eval {kind}" if len(kinds) > 1 else ", eval"
            axes.plot(steps, values, f"{marker}--", color=color, markersize=5, label=label + of)
