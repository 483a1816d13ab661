"""The learning curve of a few-shot study as a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed

import numpy as np
from matplotlib import font_manager
from matplotlib import pyplot as plt

from common.files import atomic_file
from finetuning.few_shot_report import SCORES, Cell

HANGUL_FONTS = (
    *("NanumGothic", "Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", "Apple SD Gothic Neo", "UnDotum", "Baekmuk"),
    *("Noto Sans CJK JP", "Noto Serif CJK KR", "Noto Serif CJK JP"),  # one file serves all of CJK
)
TITLES = {"exact_match": ("정답 일치율", "Exact match"), "f1": ("F1", "F1")}
AXIS = ("학습 질문 수", "Training questions")


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
