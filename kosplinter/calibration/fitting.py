"""Temperature and threshold from held-out questions, and what they are worth on articles that they were not fitted on.

Temperature: Guo et al. 2017, "On Calibration of Modern Neural Networks"; chosen by the log loss of "the best answer is
right". The threshold is the one that answers most questions while `target` of the answers are right.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finetuning.qa.metrics import metric_named
from finetuning.qa.questions import QAExample, has_unanswerable
from kosplinter.calibration.calibration import Calibration
from kosplinter.calibration.curves import (
    bins_of_equal_size,
    expected_calibration_error,
    log_loss,
    risk_coverage,
    threshold_for,
)
from kosplinter_common.cli import InputError

TEMPERATURES = np.geomspace(0.25, 16, 37)  # steps of 12%: finer than a few hundred questions can tell apart
METRIC = "korquad"  # whose exact match is "right"
FEWEST_QUESTIONS = 20
FOLDS = 5
BINS = 10
RESAMPLES = 1000
CURVE_POINTS = 200

# The best answer of each question and its probability at each temperature: {id: (text, [temperatures])}
BestAnswers = dict[str, tuple[str, np.ndarray]]


def calibrate(
    examples: Sequence[QAExample], best_answers: Callable[[Sequence[QAExample], np.ndarray], BestAnswers], target: float
) -> tuple[Calibration, dict[str, Any]]:
    """The calibration that fits all examples, and a report with its cross-validation.

    A question without an answer of its own counts as wrong whatever is answered.

    Raises:
      InputError: fewer than FEWEST_QUESTIONS questions have a window and a told answer.
    """
    metric = metric_named(METRIC, has_unanswerable(examples))
    labelled = [example for example in examples if example.labelled]
    found = best_answers(labelled, TEMPERATURES)
    asked = [example for example in labelled if example.id in found]
    if len(asked) < FEWEST_QUESTIONS:
        raise InputError(f"calibrate: found {len(asked)} questions with a told answer, expected {FEWEST_QUESTIONS}")
    right = np.array([e.answerable and metric.score(found[e.id][0], e)[0] > 0 for e in asked], bool)
    probabilities = np.array([found[example.id][1] for example in asked]).T  # [temperatures, questions]
    best = _best_temperature(probabilities, right)
    threshold = threshold_for(probabilities[best], right, target)
    calibration = Calibration(float(TEMPERATURES[best]), threshold or 0.0, target if threshold else None, len(asked))
    before, after = probabilities[np.abs(TEMPERATURES - 1).argmin()], probabilities[best]
    report = {
        "questions": len(asked),
        "right_percent": 100 * float(right.mean()),
        "temperature": calibration.temperature,
        "target": target,
        "min_probability": threshold,
        "expected_calibration_error": expected_calibration_error(after, right, BINS),
        "expected_calibration_error_uncalibrated": expected_calibration_error(before, right, BINS),
        "cross_validated": _cross_validate(asked, probabilities, right, target),
        "risk_at_coverage": _risk_at_coverage(*risk_coverage(after, right)[1:]),
        "reliability": bins_of_equal_size(after, right, BINS).tolist(),
        "risk_coverage": _thinned(np.array(risk_coverage(after, right)).T).tolist(),
    }
    return calibration, report


def _best_temperature(probabilities: np.ndarray, right: np.ndarray) -> int:
    """Index of the temperature with the lowest log loss."""
    return int(np.argmin([log_loss(row, right) for row in probabilities]))


def _risk_at_coverage(coverage: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """Share of answers that are wrong where at least 10%, 20%, … of the questions are answered."""
    tenths = np.arange(1, 11) / 10
    places = np.searchsorted(coverage, tenths - 1e-9)
    return {f"{tenth:.0%}": float(risk[place]) for tenth, place in zip(tenths, places, strict=True)}


def _thinned(points: np.ndarray) -> np.ndarray:
    if len(points) <= CURVE_POINTS:
        return points
    return points[np.linspace(0, len(points) - 1, CURVE_POINTS).astype(int)]


def _cross_validate(
    examples: Sequence[QAExample], probabilities: np.ndarray, right: np.ndarray, target: float
) -> dict[str, Any]:
    """Precision and coverage on the articles of each fold with what the other folds' articles say; pooled.

    The interval resamples articles, since questions of one article are alike. None where no threshold was found.
    """
    names = {name: i for i, name in enumerate(dict.fromkeys(example.article for example in examples))}
    articles = np.array([names[example.article] for example in examples])
    folds = np.random.default_rng(0).permutation(len(names)) % min(FOLDS, len(names))
    answered = np.zeros(len(examples), bool)
    told = np.empty(len(examples))
    for fold in range(folds.max() + 1):
        held_out = folds[articles] == fold
        if held_out.all():  # one article only
            return {"precision": None, "coverage": None, "articles": len(names)}
        best = _best_temperature(probabilities[:, ~held_out], right[~held_out])
        threshold = threshold_for(probabilities[best, ~held_out], right[~held_out], target)
        told[held_out] = probabilities[best, held_out]
        answered[held_out] = threshold is not None and told[held_out] >= threshold
    return {
        "precision": float(right[answered].mean()) if answered.any() else None,
        "precision_95": _interval(articles, answered, right) if answered.any() else None,
        "coverage": float(answered.mean()),
        "answered": int(answered.sum()),
        "expected_calibration_error": expected_calibration_error(told, right, BINS),
        "articles": len(names),
    }


def _interval(articles: np.ndarray, answered: np.ndarray, right: np.ndarray) -> list[float]:
    """2.5% and 97.5% of the precision over RESAMPLES resamples of the articles."""
    given = np.bincount(articles, answered)
    correct = np.bincount(articles, answered & right)
    drawn = np.random.default_rng(0).integers(0, len(given), (RESAMPLES, len(given)))
    totals = given[drawn].sum(1)
    shares = correct[drawn].sum(1)[totals > 0] / totals[totals > 0]
    return np.percentile(shares, [2.5, 97.5]).tolist()
