"""What lies in an exported folder beside the model: all that its use needs, as plain JSON."""

import dataclasses
from pathlib import Path
from typing import Any

from finetuning.qa.features import InputTemplate
from finetuning.qa.results import write_json
from kosplinter.calibration.calibration import Calibration, noted_calibration
from kosplinter.engine.use import UseSettings
from kosplinter_common.cli import InputError
from kosplinter_common.files import read_json_object

MODEL, TOKENIZER, SETTINGS = "model.onnx", "tokenizer.json", "kosplinter.json"
FORMAT = 1


def write_settings(folder: Path, template: InputTemplate, use: UseSettings, calibration: Calibration) -> None:
    settings = {"format": FORMAT, "template": dataclasses.asdict(template), "use": dataclasses.asdict(use)}
    write_json(folder / SETTINGS, settings | {"calibration": calibration.as_config()})


def read_settings(folder: Path) -> tuple[InputTemplate, UseSettings, Calibration]:
    """Raises InputError for a folder that no export wrote."""
    for name in (MODEL, TOKENIZER):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: found no {name}, expected the folder that `kosplinter export` wrote")
    settings = read_json_object(folder / SETTINGS, "what `kosplinter export` writes")
    if settings.get("format") != FORMAT:
        raise InputError(f"{folder / SETTINGS}: format: found {settings.get('format')!r}, expected {FORMAT}")
    try:
        template = InputTemplate(**{key: _frozen(value) for key, value in settings["template"].items()})
        return template, UseSettings(**settings["use"]), noted_calibration(settings)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / SETTINGS}: not what an export writes ({error})") from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
