"""A PyTorch model as an engine: loaded from a folder or hub name, and saved with what it notes of its use."""

import dataclasses
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from finetuning.qa.evaluation import WindowReader
from finetuning.qa.export import save_model
from finetuning.qa.model import QAModel, load_qa_model
from finetuning.qa.precision import fast_bfloat16
from finetuning.qa.settings import ModelSettings
from finetuning.qa.usage import CALIBRATION, usage_of
from kosplinter.calibration.calibration import noted_calibration
from kosplinter.engine.engine import Engine
from kosplinter.engine.use import UseSettings
from kosplinter_common.cli import InputError

WINDOWS_PER_BATCH = 16
DTYPES = ("float32", "bfloat16", "auto")


@dataclass(frozen=True)
class LoadedModel:
    """A model, and where it came from."""

    source: str
    dtype: str
    device: str | None
    qa_model: QAModel
    engine: Engine

    def save(self, folder: Path, engine: Engine) -> None:
        """Each file is whole or absent, config.json, which makes the folder a model, the last."""
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: found a file, expected a folder")
        config = self.qa_model.model.config
        for key, value in (dataclasses.asdict(engine.use) | {CALIBRATION: engine.calibration.as_config()}).items():
            setattr(config, key, value)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
            save_model(self.qa_model.model, self.qa_model.tokenizer, Path(partial))
            for path in sorted(Path(partial).iterdir(), key=lambda path: path.name == "config.json"):
                os.replace(path, folder / path.name)


def load_torch_model(source: str, dtype: str, device: str | None, use: dict[str, Any], threads: int = 0) -> LoadedModel:
    """Raises InputError for a model, a setting or a device that cannot be used."""
    if dtype not in DTYPES:
        raise InputError(f"dtype: found {dtype!r}, expected {', '.join(DTYPES)}")
    unknown = use.keys() - {field.name for field in dataclasses.fields(UseSettings)}
    if unknown:
        names = ", ".join(field.name for field in dataclasses.fields(UseSettings))
        raise InputError(f"{sorted(unknown)[0]}: no setting of a model's use, expected {names}")
    logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)
    settings = UseSettings(**usage_of(source) | use)
    model_settings = ModelSettings(model_name_or_path=source, hide_sep=settings.hide_sep)
    qa_model = load_qa_model(model_settings, settings.max_seq_length)
    place = _device(device)
    computing = torch.bfloat16 if dtype == "bfloat16" or (dtype == "auto" and _is_fast(place)) else torch.float32
    reader = WindowReader(qa_model.model.to(place).eval(), place, computing, WINDOWS_PER_BATCH)
    calibration = noted_calibration(qa_model.model.config.to_dict())
    engine = Engine(qa_model.offset_tokenizer, qa_model.template, reader, settings, calibration)
    return LoadedModel(source, dtype, device, qa_model, engine)


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"device: found {name!r}, which this machine has not: {first_line}") from error
    return device


def _is_fast(device: torch.device) -> bool:
    return fast_bfloat16(use_cpu=device.type == "cpu") is not None
