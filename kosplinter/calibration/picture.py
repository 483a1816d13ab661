"""The picture of a calibration: how often answers of a probability are right, and what answering more costs."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from kosplinter_common.files import atomic_file


def draw_calibration(report: dict[str, Any], path: Path) -> None:
    """Writes the PNG of a report of `calibrate`."""
    figure, (reliability, risk) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    told, right, _ = zip(*report["reliability"], strict=True)
    reliability.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    reliability.plot(told, right, marker="o")
    reliability.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the best answer", ylabel="share that is right")
    reliability.set_title(
        f"T = {report['temperature']:.2f}; calibration error {report['expected_calibration_error']:.3f}"
        f" (before {report['expected_calibration_error_uncalibrated']:.3f})"
    )
    _, coverage, risks = zip(*report["risk_coverage"], strict=True)
    risk.plot(coverage, risks)
    risk.axhline(1 - report["target"], color="0.7", linewidth=1)
    risk.set(xlim=(0, 1), ylim=(0, 1), xlabel="share answered (coverage)", ylabel="share of answers wrong (risk)")
    threshold = report["min_probability"]
    risk.set_title(f"target {report['target']:.0%}: " + (f"p ≥ {threshold:.3f}" if threshold else "not reached"))
    for axes in (reliability, risk):
        axes.grid(alpha=0.3)
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=120, format="png")
    plt.close(figure)
