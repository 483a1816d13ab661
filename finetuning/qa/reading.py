"""Windows through a model and from their scores to the answers of each document. Needs no torch.

Everything that answers questions here goes this way: run_qa.py, predict.py and the package kosplinter, whatever it is
that computes the scores.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np
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


class DocumentReader(ABC):
    """Answers questions from features, chunk by chunk of whole documents; what scores windows is for subclasses."""

    def __init__(
        self,
        batch_size: int,
        pad: bool,
        make_batches: Callable[[np.ndarray, int, bool], list[np.ndarray]] = batches_by_length,
    ) -> None:
        """pad: full batches of similar length, for what takes its time by batches; else batches of equal length."""
        self._batch_size, self._pad, self._make_batches = batch_size, pad, make_batches

    @abstractmethod
    def _computing(self) -> AbstractContextManager[Any]:
        """What holds while windows are scored."""

    @abstractmethod
    def _score(self, batch: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Start and end logits, float32 [batch, length], of the collator's arrays [batch, length]."""

    def read(
        self,
        features: QAFeatures,
        settings: DecodingSettings,
        collate: Callable[..., dict[str, Any]] | None = None,
        process: int = 0,
        processes: int = 1,
        progress: bool = False,
    ) -> dict[str, Decoded]:
        """The answers of each question that has a window; of several processes, of this one's share of them."""
        decoded: dict[str, Decoded] = {}
        for first, last, logits in self.chunks(features, collate, process, processes, progress):
            decoded |= decode_chunk(features, first, last, logits, settings)
        return decoded

    def chunks(
        self,
        features: QAFeatures,
        collate: Callable[..., dict[str, Any]] | None = None,
        process: int = 0,
        processes: int = 1,
        progress: bool = False,
    ) -> Iterator[tuple[int, int, WindowLogits]]:
        """Chunks of whole documents: windows [first, last) and their logits."""
        collate = collate or WindowCollator(features.template, with_labels=False).arrays
        chunks = list(_chunks(features, processes))[process::processes]
        total = sum(last - first for first, last in chunks)
        with tqdm(total=total, unit="window", disable=not progress) as bar:
            for first, last in chunks:
                with self._computing():
                    logits = self._logits(features, first, last, collate, bar)
                yield first, last, logits

    def _logits(self, features: QAFeatures, first: int, last: int, collate: Any, bar: Any) -> WindowLogits:
        rooms = features.windows[first:last, 2] - features.windows[first:last, 1]
        firsts = np.r_[0, rooms.cumsum()]
        starts, ends = np.empty((2, firsts[-1]), np.float32)
        null_scores = np.empty(last - first)
        cls_index = features.template.cls_index
        for rows in self._make_batches(features.lengths[first:last], self._batch_size, self._pad):
            batch = collate([features[first + row] for row in rows.tolist()])
            mask = np.asarray(batch.pop("context_mask"))
            of_starts, of_ends = self._score(batch)
            places = np.concatenate([np.arange(firsts[row], firsts[row + 1]) for row in rows])
            starts[places], ends[places] = of_starts[mask], of_ends[mask]
            null_scores[rows] = of_starts[:, cls_index].astype(np.float64) + of_ends[:, cls_index]
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


def decode_chunk(
    features: QAFeatures, first: int, last: int, logits: WindowLogits, settings: DecodingSettings
) -> dict[str, Decoded]:
    """The answers of the questions whose windows are [first, last)."""
    decoded = {}
    borders = document_borders(features.windows[first:last, 0]).tolist()
    for begin, end in pairwise(borders):
        own = WindowLogits(logits.starts, logits.ends, logits.firsts[begin:end], logits.null_scores[begin:end])
        example = features.examples[int(features.windows[first + begin, 0])]
        decoded[example.id] = decode_document(features, first + begin, first + end, own, settings)
    return decoded
