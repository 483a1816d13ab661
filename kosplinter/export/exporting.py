"""Writes a PyTorch model as ONNX by torch.export, and compares the two on trial inputs."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finetuning.qa.features import InputTemplate
from kosplinter.export.folder import MODEL, SETTINGS, TOKENIZER, write_settings
from kosplinter.export.runtime import open_session
from kosplinter_common.cli import InputError

TOLERANCE = 1e-4
TRIAL_SHAPES = ((1, 7), (3, 40), (2, 19))  # [batch, length]: unlike the one the model is traced with
TRACED_SHAPE = (2, 16)
OPSET = 18  # runs on every onnxruntime of the last years


class Logits(nn.Module):
    """A model with tensors in and tensors out: what an ONNX graph is."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(**dict(zip(self.names, inputs, strict=True)))
        return output.start_logits, output.end_logits


def export_engine(loaded: Any, engine: Any, folder: Path, int8: bool) -> dict[str, float]:
    """Writes the folder; a model that differs is not written. See QuestionAnswerer.export_onnx."""
    _check_installed(int8)
    model, template = loaded.qa_model.model, loaded.qa_model.template
    device = next(model.parameters()).device
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as name, _eager(model):
        partial = Path(name)
        model.to("cpu")
        try:
            _export(model, template, partial / "float.onnx")
            if int8:
                _quantize(partial / "float.onnx", partial / MODEL)
            else:
                (partial / "float.onnx").rename(partial / MODEL)
            report = {"largest_difference": _largest_difference(model, template, partial / MODEL)}
        finally:
            model.to(device)
        if not int8 and report["largest_difference"] > TOLERANCE:
            raise InputError(f"export: logits differ by {report['largest_difference']:.2g}, expected {TOLERANCE:g}")
        (partial / TOKENIZER).write_text(loaded.qa_model.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
        write_settings(partial, template, engine.use, engine.calibration)
        for own in (TOKENIZER, SETTINGS, MODEL):
            (partial / own).replace(folder / own)
    return report | {"megabytes": (folder / MODEL).stat().st_size / 1e6}


def _check_installed(int8: bool) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"export: {error}; expected the extra `onnx` (pip install '.[onnx]')") from error


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """Attention written out: fused attention asks about its mask's content, which no graph can know."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _inputs(template: InputTemplate, shape: tuple[int, int], vocabulary: int, seed: int) -> dict[str, Tensor]:
    """Random wordpieces behind a real beginning, the last of the rows padded, as the collator gives them."""
    generator = torch.Generator().manual_seed(seed)
    batch, length = shape
    ids = torch.randint(0, vocabulary, shape, generator=generator)
    ids[:, : len(template.prefix)] = torch.tensor(template.prefix)
    middle = torch.tensor(template.middle)
    ids[:, 2 : 2 + len(middle)] = middle
    mask = torch.ones(shape, dtype=torch.int64)
    if batch > 1:
        ids[-1, length - 1 :], mask[-1, length - 1 :] = template.pad_id, 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if template.uses_token_types:
        inputs["token_type_ids"] = torch.zeros(shape, dtype=torch.int64)
    if template.explicit_positions:
        inputs["position_ids"] = torch.arange(length).expand(shape).contiguous()
    return inputs


def _export(model: Any, template: InputTemplate, path: Path) -> None:
    inputs = _inputs(template, TRACED_SHAPE, model.config.vocab_size, seed=0)
    names = tuple(inputs)
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Logits(model, names).eval(),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=(tuple(shape for _ in names),),
            input_names=list(names),
            output_names=["start_logits", "end_logits"],
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)


def _quantize(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])


def _largest_difference(model: Any, template: InputTemplate, path: Path) -> float:
    """Of the logits of tokens that are not hidden, over inputs of several shapes."""
    session = open_session(path, threads=1)
    largest = 0.0
    for seed, shape in enumerate(TRIAL_SHAPES, 1):
        inputs = _inputs(template, shape, model.config.vocab_size, seed)
        with torch.inference_mode():
            output = model(**inputs)
        found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        seen = inputs["attention_mask"].bool().numpy()
        for expected, got in zip((output.start_logits.numpy(), output.end_logits.numpy()), found, strict=True):
            largest = max(largest, float(np.abs(expected - got)[seen].max()))
    return largest
