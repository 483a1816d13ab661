"""Hugging Face's Trainer for question answering: batches by length, windows decoded as they leave the model."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler, Subset
from transformers import Trainer, TrainingArguments

from finetuning.qa.decoding import WindowSpans, best_spans
from finetuning.qa.features import InputTemplate, QAFeatures, WindowCollator


class SimilarLengthSampler(Sampler[int]):
    """Random order in which each batch has windows of similar length; batches come in random order, too.

    Windows are shuffled, sorted by length within pools of POOL_BATCHES batches, cut into batches, and these shuffled.
    The order depends on seed and epoch only, so that every process, and a resumed run, sees the same.
    """

    POOL_BATCHES = 50

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self._seed, self._epoch))
        order = generator.permutation(len(self._lengths))
        pool = self._batch_size * self.POOL_BATCHES
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        order = np.concatenate([part[np.argsort(self._lengths[part], kind="stable")] for part in pools])
        batches = [order[i : i + self._batch_size] for i in range(0, len(order), self._batch_size)]
        full = len(order) // self._batch_size  # a smaller batch stays last, or all later ones would be cut elsewhere
        for i in [*generator.permutation(full), *range(full, len(batches))]:
            yield from batches[i].tolist()


class QATrainer(Trainer):
    """Trains on `train_dataset`; `decode` turns features into the best spans of each window.

    score: called by `evaluate` (at the end of each epoch, if asked for) for a dictionary of metrics.
    """

    def __init__(
        self,
        model: nn.Module,
        arguments: TrainingArguments,
        *,
        template: InputTemplate,
        max_answer_length: int,
        n_best: int,
        score: "Callable[[QATrainer], dict[str, float]] | None" = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, arguments, data_collator=WindowCollator(template, with_labels=True), **kwargs)
        self._template = template
        self._max_answer_length = max_answer_length
        self._n_best = n_best
        self._score = score

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(dataset)
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return SimilarLengthSampler(dataset.lengths, batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler | None:
        return SequentialSampler(eval_dataset)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Tensor | None]:
        """Logits never leave the device: only the best spans of each window do."""
        inputs = self._prepare_inputs(inputs)
        context_mask = inputs.pop("context_mask")
        with torch.inference_mode(), self.compute_loss_context_manager():
            outputs = model(**inputs)
        spans = best_spans(
            outputs.start_logits,
            outputs.end_logits,
            context_mask,
            self._max_answer_length,
            self._n_best,
            self._template.cls_index,
        )
        return None, tuple(spans), None

    def decode(self, features: QAFeatures) -> WindowSpans:
        """One row per window of `features`, in their order; computed longest first: batches are of similar length."""
        order = np.argsort(-features.lengths, kind="stable")
        training_collator, self.data_collator = self.data_collator, WindowCollator(self._template, with_labels=False)
        try:
            output = self.predict(Subset(features, order.tolist()))  # type: ignore[arg-type]
        finally:
            self.data_collator = training_collator
        place = np.argsort(order)
        return WindowSpans(*(torch.from_numpy(np.asarray(part)[place]) for part in output.predictions))

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        metrics = {
            f"{metric_key_prefix}_{name}": value for name, value in (self._score or (lambda _: {}))(self).items()
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
