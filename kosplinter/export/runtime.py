"""An exported model as an engine: onnxruntime, tokenizers and numpy; neither torch nor transformers."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from finetuning.qa.features import OffsetTokenizer
from finetuning.qa.reading import DocumentReader
from kosplinter.engine.engine import Engine
from kosplinter.export.folder import MODEL, TOKENIZER, read_settings
from kosplinter_common.cli import InputError

WINDOWS_PER_BATCH = 16


class OnnxReader(DocumentReader):
    """Scores windows on the CPU, batches of equal length."""

    def __init__(self, session: Any, batch_size: int = WINDOWS_PER_BATCH) -> None:
        super().__init__(batch_size, pad=False)
        self._session = session

    def _computing(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _score(self, batch: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        starts, ends = self._session.run(None, batch)
        return starts, ends


def load_onnx_engine(folder: Path, threads: int) -> Engine:
    """Raises InputError: onnxruntime is not installed, or the folder is no exported model."""
    template, use, calibration = read_settings(folder)
    reader = OnnxReader(open_session(folder / MODEL, threads))
    try:
        backend = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # tokenizers raises nothing more precise
        raise InputError(f"{folder / TOKENIZER}: no tokenizer: {error}") from error
    # what OffsetTokenizer asks of a tokenizer of transformers
    tokenizer = SimpleNamespace(is_fast=True, backend_tokenizer=backend, name_or_path=str(folder))
    return Engine(OffsetTokenizer(tokenizer), template, reader, use, calibration)


def open_session(model: Path, threads: int = 0) -> Any:
    """An onnxruntime session. Raises InputError where it cannot be had."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("onnxruntime is not installed; expected the extra `onnx` (pip install '.[onnx]')") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common base that it names
        first_line = (str(error).strip().splitlines() or ["?"])[0]
        raise InputError(f"{model}: onnxruntime cannot load it: {first_line}") from error
