"""The report of a few-shot study: mean ± standard deviation per size, and how sure differences between models are."""

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from finetuning.few_shot import Run

SCORES = {"exact_match": "EM", "f1": "F1"}


@dataclass(frozen=True)
class Cell:
    """Scores of one model at one size, in percent, over its samples."""

    model: str
    size: str
    num_questions: int
    score: str
    mean: float
    deviation: float | None  # of the samples; None where there is only one
    samples: list[float]


@dataclass(frozen=True)
class Difference:
    """Mean of (first − second) in points, with the bounds of its 95% bootstrap confidence interval."""

    first: str
    second: str
    size: str
    score: str
    mean: float
    low: float
    high: float


def summarize(runs: Sequence[Run], metric: str) -> list[Cell]:
    """One cell per model, size and score, in the order of the runs."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.model, run.size].append(run)
    cells = []
    for (model, size), members in groups.items():
        for score in SCORES:
            values = [run.results[f"{metric}_{score}"] for run in members]
            deviation = statistics.stdev(values) if len(values) > 1 else None
            mean = statistics.fmean(values)
            cells.append(Cell(model, size, members[0].num_questions, score, mean, deviation, values))
    return cells


def compare(runs: Sequence[Run], metric: str, resamples: int, seed: int) -> list[Difference]:
    """Paired bootstrap for each two models at each size they share.

    Pairs are scores of the same question after learning from the same sample; samples and questions are both drawn
    with replacement, so that the interval speaks for other training samples and other questions.
    """
    by_place = {(run.model, run.size, run.sample): run for run in runs}
    models = list(dict.fromkeys(run.model for run in runs))
    differences = []
    for size in dict.fromkeys(run.size for run in runs):
        samples = sorted({run.sample for run in runs if run.size == size})
        for first, second in combinations(models, 2):
            pairs = [(by_place.get((first, size, s)), by_place.get((second, size, s))) for s in samples]
            complete = [(a, b) for a, b in pairs if a and b]
            if not complete:
                continue
            for score in SCORES:
                column = f"{metric}_{score}"
                points = np.stack([100 * (_column(a, column) - _column(b, column)) for a, b in complete])
                low, high = paired_bootstrap(points, resamples, seed)
                differences.append(Difference(first, second, size, score, float(points.mean()), low, high))
    return differences


def paired_bootstrap(differences: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """2.5% and 97.5% quantiles of the mean of differences [samples, questions] under resampling of both axes."""
    generator = np.random.default_rng(seed)
    samples, questions = differences.shape
    # how often each sample and each question is drawn: [resamples, samples] and [resamples, questions]
    rows = generator.multinomial(samples, np.full(samples, 1 / samples), resamples)
    columns = generator.multinomial(questions, np.full(questions, 1 / questions), resamples)
    means = ((rows @ differences) * columns).sum(1) / (samples * questions)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _column(run: Run, column: str) -> np.ndarray:
    return np.array(_read_columns(run.question_results)[column])


def _read_columns(path: Path) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = defaultdict(list)
    for line in filter(None, path.read_text(encoding="utf-8").split("\n")):
        for key, value in json.loads(line).items():
            columns[key].append(value)
    return columns


def markdown_report(cells: Sequence[Cell], differences: Sequence[Difference], num_questions: int, metric: str) -> str:
    """The table of models × sizes, and the table of differences."""
    sizes = list(dict.fromkeys(cell.size for cell in cells))
    by_place = {(cell.model, cell.size, cell.score): cell for cell in cells}
    lines = [
        f"Scores ({metric}) on {num_questions} questions, mean ± standard deviation over training samples.",
        "",
        "| model | metric | " + " | ".join(sizes) + " |",
        "|---|---|" + "---|" * len(sizes),
    ]
    for model in dict.fromkeys(cell.model for cell in cells):
        for score, title in SCORES.items():
            row = [_cell_text(by_place.get((model, size, score))) for size in sizes]
            lines.append(f"| {model} | {title} | " + " | ".join(row) + " |")
    if differences:
        lines += ["", "Differences in points, with 95% paired bootstrap confidence.", ""]
        lines += ["| size | metric | models | difference | 95% interval |", "|---|---|---|---|---|"]
        for d in differences:
            interval = f"{d.low:+.2f} … {d.high:+.2f}"
            lines.append(f"| {d.size} | {SCORES[d.score]} | {d.first} − {d.second} | {d.mean:+.2f} | {interval} |")
    return "\n".join(lines) + "\n"


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    return f"{cell.mean:.2f}" if cell.deviation is None else f"{cell.mean:.2f} ± {cell.deviation:.2f}"
