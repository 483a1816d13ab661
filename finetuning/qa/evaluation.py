"""Windows through a PyTorch model, in the precision asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from finetuning.qa.reading import DocumentReader, batches_by_length


class WindowReader(DocumentReader):
    """A GPU gets full batches of similar length, for its time goes by batches; a CPU batches of equal length."""

    def __init__(
        self,
        model: Callable[..., Any],
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int,
        make_batches: Callable[[np.ndarray, int, bool], list[np.ndarray]] = batches_by_length,
    ) -> None:
        """dtype: what matrix products are computed in; the weights stay as they are."""
        super().__init__(batch_size, device.type != "cpu", make_batches)
        self._model, self._device, self._dtype = model, device, dtype

    @contextmanager
    def _computing(self) -> Iterator[None]:
        # One autocast around all batches: within it, weights are cast once. (Without bfloat16 it does nothing.)
        casting = torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)
        with torch.inference_mode(), casting:
            yield

    def _score(self, batch: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        output = self._model(**{name: torch.as_tensor(part).to(self._device) for name, part in batch.items()})
        starts, ends = (part.float().cpu().numpy() for part in (output.start_logits, output.end_logits))
        return starts, ends
