"""What a calibrated model notes in its config: the temperature of its scores and the probability it answers from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from finetuning.qa.usage import CALIBRATION
from kosplinter_common.cli import InputError


@dataclass(frozen=True)
class Calibration:
    """Scores are divided by `temperature` before they become probabilities.

    min_probability: an answer less probable is not given; `target` of those given were right, of `questions` held-out
    ones. Without calibration everything is answered, at temperature 1.
    """

    temperature: float = 1.0
    min_probability: float = 0.0
    target: float | None = None
    questions: int = 0

    def as_config(self) -> dict[str, Any] | None:
        return asdict(self) if self.questions else None


def noted_calibration(config: Mapping[str, Any]) -> Calibration:
    """What a config notes. Raises InputError where that is nothing a calibration writes."""
    noted = config.get(CALIBRATION)
    if noted is None:
        return Calibration()
    try:
        return Calibration(**noted)
    except TypeError as error:
        raise InputError(
            f"config.json: {CALIBRATION}: found {noted!r}, expected {list(asdict(Calibration()))}"
        ) from error
