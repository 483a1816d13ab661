"""The report of a few-shot study: mean ± standard deviation per size, how sure differences are, the learning curve."""

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed

import numpy as np
from matplotlib import font_manager
from matplotlib import pyplot as plt

from finetuning.study.protocol import Run
from kosplinter_common.files import atomic_file

SCORES = {"exact_match": "EM", "f1": "F1"}
HANGUL_FONTS = (
    *("NanumGothic", "Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", "Apple SD Gothic Neo", "UnDotum", "Baekmuk"),
    *("Noto Sans CJK JP", "Noto Serif CJK KR", "Noto Serif CJK JP"),  # one file serves all of CJK
)
TITLES = {"exact_match": ("정답 일치율", "Exact match"), "f1": ("F1", "F1")}
AXIS = ("학습 질문 수", "Training questions")


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


def hangul_font() -> str | None:
    """The name of an installed font that has Hangul, or None."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in HANGUL_FONTS if name in installed), None)


def label(korean: str, english: str, font: str | None) -> str:
    """Both languages where Hangul renders, else English."""
    return english if font is None or korean == english else f"{korean} ({english})"


def draw_learning_curve(cells: Sequence[Cell], path: Path) -> None:
    """Writes a PNG: one panel per score, one line with a band of ± one standard deviation per model."""
    font = hangul_font()
    families = [font, "DejaVu Sans"] if font else ["DejaVu Sans"]
    with plt.rc_context({"font.family": families, "axes.unicode_minus": False}):
        figure, panels = plt.subplots(1, len(SCORES), figsize=(11, 4.5), sharex=True, layout="constrained")
        for panel, score in zip(panels, SCORES, strict=True):
            for model in dict.fromkeys(cell.model for cell in cells):
                points = [cell for cell in cells if cell.model == model and cell.score == score]
                points.sort(key=lambda cell: cell.num_questions)
                sizes = np.array([cell.num_questions for cell in points])
                means = np.array([cell.mean for cell in points])
                deviations = np.array([cell.deviation or 0.0 for cell in points])
                (line,) = panel.plot(sizes, means, marker="o", label=model)
                panel.fill_between(sizes, means - deviations, means + deviations, color=line.get_color(), alpha=0.2)
            ticks = {cell.num_questions: cell.size for cell in cells}
            panel.set_xscale("log", base=2)
            panel.set_xticks(list(ticks), list(ticks.values()))
            panel.minorticks_off()
            panel.set_xlabel(label(*AXIS, font))
            panel.set_ylabel(label(*TITLES[score], font) + " [%]")
            panel.grid(alpha=0.3)
        panels[0].legend()
        with atomic_file(path) as partial:
            figure.savefig(partial, format="png", dpi=150)
        plt.close(figure)
