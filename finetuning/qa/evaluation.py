"""Windows through a model without padding, and from their logits to the answers of each document."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from finetuning.qa.decoding import Decoded, DecodingSettings, WindowLogits, decode_document
from finetuning.qa.features import QAFeatures, WindowCollator

# Windows whose logits are held at once, 6 MiB of 384 wordpieces: documents are decoded when all of theirs are there.
CHUNK_WINDOWS = 2048


def batches_by_length(lengths: np.ndarray, batch_size: int, pad: bool) -> list[np.ndarray]:
    """Indices of windows, longest first, in batches of at most batch_size; without `pad`, of equal length each."""
    order = np.argsort(-lengths, kind="stable")
    cuts = np.arange(batch_size, len(order), batch_size)
    if not pad:
        runs = np.r_[0, np.flatnonzero(np.diff(lengths[order])) + 1, len(order)]
        cuts = np.concatenate([np.arange(a, b, batch_size) for a, b in pairwise(runs)])[1:]
    return np.split(order, cuts)


class WindowReader:
    """Answers questions from features, chunk by chunk of whole documents.

    A GPU gets full batches of similar length, for its time goes by batches; a CPU batches of equal length.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int,
        make_batches: Callable[[np.ndarray, int, bool], list[np.ndarray]] = batches_by_length,
    ) -> None:
        """dtype: what matrix products are computed in; the weights stay as they are."""
        self._model, self._device, self._dtype, self._batch_size = model, device, dtype, batch_size
        self._make_batches = make_batches

    def read(
        self,
        features: QAFeatures,
        settings: DecodingSettings,
        collate: Callable[..., dict[str, torch.Tensor]] | None = None,
        process: int = 0,
        processes: int = 1,
        progress: bool = False,
    ) -> dict[str, Decoded]:
        """The answers of each question that has a window; of several processes, of this one's share of them."""
        collate = collate or WindowCollator(features.template, with_labels=False)
        decoded: dict[str, Decoded] = {}
        chunks = list(_chunks(features, processes))[process::processes]
        # One autocast around all batches: within it, weights are cast once. (Without bfloat16 it does nothing.)
        casting = torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)
        total = sum(last - first for first, last in chunks)
        with torch.inference_mode(), casting, tqdm(total=total, unit="window", disable=not progress) as bar:
            for first, last in chunks:
                logits = self._logits(features, first, last, collate, bar)
                decoded |= _decode(features, first, last, logits, settings)
        return decoded

    def _logits(self, features: QAFeatures, first: int, last: int, collate: Any, bar: Any) -> WindowLogits:
        rooms = features.windows[first:last, 2] - features.windows[first:last, 1]
        firsts = np.r_[0, rooms.cumsum()]
        starts, ends = np.empty((2, firsts[-1]), np.float32)
        null_scores = np.empty(last - first)
        pad = self._device.type != "cpu"
        for rows in self._make_batches(features.lengths[first:last], self._batch_size, pad):
            batch = collate([features[first + row] for row in rows.tolist()])
            mask = batch.pop("context_mask")
            output = self._model(**{name: tensor.to(self._device) for name, tensor in batch.items()})
            of_starts, of_ends = (part.float().cpu() for part in (output.start_logits, output.end_logits))
            places = np.concatenate([np.arange(firsts[row], firsts[row + 1]) for row in rows])
            starts[places], ends[places] = of_starts[mask].numpy(), of_ends[mask].numpy()
            cls_index = features.template.cls_index
            null_scores[rows] = (of_starts[:, cls_index].double() + of_ends[:, cls_index].double()).numpy()
            bar.update(len(rows))
        return WindowLogits(starts, ends, firsts, null_scores)


def _chunks(features: QAFeatures, processes: int) -> Iterator[tuple[int, int]]:
    """Windows [first, last) of whole documents, together about CHUNK_WINDOWS, or fewer so that no process is idle."""
    size = min(CHUNK_WINDOWS, -(-len(features) // processes))
    borders = document_borders(features.windows[:, 0])
    first = 0
    for border in borders[1:].tolist():
        if border - first >= size or border == len(features):
            yield first, border
            first = border


def document_borders(owners: np.ndarray) -> np.ndarray:
    """Where the windows of each document begin, and the end of the last; `owners` names the document of each window."""
    return np.r_[np.flatnonzero(np.diff(owners, prepend=-1)), len(owners)]


def _decode(
    features: QAFeatures, first: int, last: int, logits: WindowLogits, settings: DecodingSettings
) -> dict[str, Decoded]:
    decoded = {}
    borders = document_borders(features.windows[first:last, 0]).tolist()
    for begin, end in pairwise(borders):
        own = WindowLogits(logits.starts, logits.ends, logits.firsts[begin:end], logits.null_scores[begin:end])
        example = features.examples[int(features.windows[first + begin, 0])]
        decoded[example.id] = decode_document(features, first + begin, first + end, own, settings)
    return decoded
