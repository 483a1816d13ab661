"""How good probabilities are: log loss, calibration error, risk over coverage. Plain numpy.

Throughout, `probabilities` [n] are those of the best answers and `right` [n] says which of these are right.
"""

import numpy as np

SMALLEST = 1e-12  # a probability whose logarithm is taken


def log_loss(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Mean negative log-likelihood of right and wrong."""
    told = np.clip(np.where(right, probabilities, 1 - probabilities), SMALLEST, 1)
    return float(-np.log(told).mean())


def bins_of_equal_size(probabilities: np.ndarray, right: np.ndarray, bins: int) -> np.ndarray:
    """[bins, 3]: mean probability, share of right ones and number of answers, by rising probability."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return np.array([(probabilities[part].mean(), right[part].mean(), len(part)) for part in parts])


def expected_calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int) -> float:
    """Mean distance of probability and share of right ones over bins of equal size (Nguyen and O'Connor 2015)."""
    told, found, sizes = bins_of_equal_size(probabilities, right, bins).T
    return float((np.abs(told - found) * sizes).sum() / sizes.sum())


def risk_coverage(probabilities: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each threshold, the highest first: threshold, share answered (coverage), share of these wrong (risk).

    Answers of equal probability are given together (El-Yaniv and Wiener 2010).
    """
    order = np.argsort(-probabilities, kind="stable")
    told, correct = probabilities[order], right[order]
    last_of_equals = np.flatnonzero(np.r_[told[1:] != told[:-1], True])
    answered = last_of_equals + 1
    return told[last_of_equals], answered / len(told), 1 - correct.cumsum()[last_of_equals] / answered


def threshold_for(probabilities: np.ndarray, right: np.ndarray, target: float) -> float | None:
    """The lowest probability from which on `target` of the answers are right; None where there is none.

    It lies half way to the next lower probability, as a border between the answers seen.
    """
    thresholds, _, risks = risk_coverage(probabilities, right)
    good = np.flatnonzero(risks <= 1 - target + 1e-12)
    if not len(good):
        return None
    last = int(good[-1])
    return float((thresholds[last] + (thresholds[last + 1] if last + 1 < len(thresholds) else 0.0)) / 2)
