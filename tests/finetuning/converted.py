"""What the conversion tests share: a config for a tiny checkpoint, and the comparison with its own graph."""

from pathlib import Path

import numpy as np
import torch

from finetuning.conversion.to_torch import ConversionConfig
from finetuning.modeling import ModelWithQASSHead
from tests.finetuning.tiny_checkpoints import TinyCheckpoint, cross_entropy

PARITY = 1e-5


def config_for(tiny: TinyCheckpoint, output: Path, /, **values: object) -> ConversionConfig:
    """Without verification, unless asked for: the tests compare with graphs of their own."""
    given = {
        "checkpoint": str(tiny.prefix),
        "output": str(output),
        "bert_config_file": str(tiny.config),
        "vocab_file": str(tiny.vocab),
        "verify": False,
    }
    return ConversionConfig(**given | values)


def inputs_of(checkpoint: TinyCheckpoint) -> dict[str, torch.Tensor]:
    batch = checkpoint.batch
    return {
        "input_ids": torch.from_numpy(batch.input_ids),
        "attention_mask": torch.from_numpy(batch.input_mask),
        "position_ids": torch.from_numpy(batch.position_ids),
    }


def assert_same(checkpoint: TinyCheckpoint, start: np.ndarray, end: np.ndarray, tolerance: float = PARITY) -> None:
    """Logits of visible positions, and the loss of each real question."""
    batch = checkpoint.batch
    np.testing.assert_allclose(start[batch.visible], checkpoint.start_logits[batch.visible], atol=tolerance)
    np.testing.assert_allclose(end[batch.visible], checkpoint.end_logits[batch.visible], atol=tolerance)
    loss = (cross_entropy(start, batch.beginnings) + cross_entropy(end, batch.endings)) / 2
    real = batch.question_positions > 0
    np.testing.assert_allclose(loss[real], checkpoint.loss[real], atol=tolerance)


def run_qass(folder: Path, checkpoint: TinyCheckpoint) -> tuple[np.ndarray, np.ndarray]:
    model, info = ModelWithQASSHead.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    positions = torch.from_numpy(checkpoint.batch.question_positions)
    with torch.no_grad():
        outputs = model.eval()(**inputs_of(checkpoint), masked_positions=positions)
    return outputs.start_logits.numpy(), outputs.end_logits.numpy()
