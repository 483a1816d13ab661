"""Hugging Face's Trainer for question answering: training batches of similar length, answers instead of a loss."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments

from finetuning.qa.decoding import Decoded, DecodingSettings
from finetuning.qa.evaluation import WindowReader
from finetuning.qa.features import InputTemplate, QAFeatures, WindowCollator
from finetuning.qa.precision import evaluation_dtype


class SimilarLengthSampler(Sampler[int]):
    """Random order in which, of many windows, those of one batch have similar lengths.

    Windows are shuffled and cut into pools, each pool is sorted by length and cut into batches, and these come in
    random order. A pool holds at most one MIXED_BATCHES-th of all batches, so that a window's partners change from
    epoch to epoch: they come from the windows nearest in length, of at least MIXED_BATCHES batches. Fewer than
    2 × MIXED_BATCHES batches are not sorted at all. A last, smaller batch, whose windows weigh more, is drawn before
    anything is sorted; so every window has the same chance in every place. The order depends on seed and epoch only, so
    that every process, and a resumed run, sees the same.

    batch_size: windows of one optimizer step, over all processes and accumulated parts.
    """

    MIXED_BATCHES = 16
    POOL_BATCHES = 50  # at most: larger pools save hardly any more padding

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
        full = len(order) // self._batch_size
        pool = min(self.POOL_BATCHES, full // self.MIXED_BATCHES) * self._batch_size
        grouped, last = order[: full * self._batch_size], order[full * self._batch_size :]
        if pool > self._batch_size:
            pools = [grouped[i : i + pool] for i in range(0, len(grouped), pool)]
            grouped = np.concatenate([part[np.argsort(self._lengths[part], kind="stable")] for part in pools])
            # batches in random order, and the windows of each: processes and accumulated parts take parts of a batch
            grouped = generator.permuted(generator.permutation(grouped.reshape(full, self._batch_size)), axis=1)
        yield from grouped.ravel().tolist()
        yield from last.tolist()


class QATrainer(Trainer):
    """Trains on `train_dataset`; `decode` answers the questions of any features.

    score: called by `evaluate` (at the end of each epoch, if asked for) for a dictionary of metrics.
    """

    def __init__(
        self,
        model: nn.Module,
        arguments: TrainingArguments,
        *,
        template: InputTemplate,
        score: "Callable[[QATrainer], dict[str, float]] | None" = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, arguments, data_collator=WindowCollator(template, with_labels=True), **kwargs)
        self._score = score

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(dataset)
        arguments = self.args
        batch_size = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        seed = arguments.seed if arguments.data_seed is None else arguments.data_seed
        return SimilarLengthSampler(dataset.lengths, batch_size, seed)

    def decode(self, features: QAFeatures, settings: DecodingSettings) -> dict[str, Decoded]:
        """The answers of each question that has a window, the same in every process."""
        assert self.model is not None
        arguments, model = self.args, self._wrap_model(self.model.eval(), training=False)
        reader = WindowReader(model, arguments.device, evaluation_dtype(arguments), arguments.eval_batch_size)
        shared = {"process": arguments.process_index, "processes": arguments.world_size}
        progress = not arguments.disable_tqdm and self.is_world_process_zero()
        decoded = reader.read(features, settings, **shared, progress=progress)
        if arguments.world_size > 1:
            decoded = {name: found for share in gather_object([decoded]) for name, found in share.items()}
        return decoded

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        metrics = {
            f"{metric_key_prefix}_{name}": value for name, value in (self._score or (lambda _: {}))(self).items()
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
