"""Batches of similar length are still random, complete, and the same for the same seed and epoch."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset

from finetuning.flags import QATrainingArguments
from finetuning.qa.trainer import QATrainer, SimilarLengthSampler


def order(lengths: np.ndarray, batch_size: int, seed: int = 0, epoch: int = 0) -> list[int]:
    sampler = SimilarLengthSampler(lengths, batch_size, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@given(st.lists(st.integers(1, 384), min_size=1, max_size=600), st.integers(1, 16), st.integers(0, 3))
def test_every_window_comes_once_per_epoch(lengths: list[int], batch_size: int, epoch: int) -> None:
    assert sorted(order(np.array(lengths), batch_size, 0, epoch)) == list(range(len(lengths)))
    assert len(SimilarLengthSampler(np.array(lengths), batch_size, 0)) == len(lengths)


def test_order_depends_on_seed_and_epoch_only() -> None:
    lengths = np.random.default_rng(0).integers(1, 384, 500)
    assert order(lengths, 8, 1, 2) == order(lengths, 8, 1, 2)
    assert len({tuple(order(lengths, 8, seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_batches_waste_little_and_come_in_no_order_of_length() -> None:
    lengths = np.random.default_rng(0).integers(30, 384, 4800)
    batches = lengths[order(lengths, 12)].reshape(-1, 12)
    assert batches.max(1).sum() * 12 < 1.08 * lengths.sum()  # random batches: 1.7 times
    longest = batches.max(1)
    # the rank correlation of 400 random batches with their place has standard deviation 0.05
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.2


def deviation(counts: np.ndarray, trials: int, chance: float) -> float:
    """The largest distance from a binomial's mean, in its standard deviations."""
    return float(abs(counts - trials * chance).max() / np.sqrt(trials * chance * (1 - chance)))


@pytest.mark.parametrize("windows", [5, 16, 24, 50, 128])
def test_in_a_small_set_every_window_has_the_same_chance_in_every_place_and_with_every_partner(windows: int) -> None:
    lengths, batch_size, epochs = np.sort(np.random.default_rng(1).integers(30, 384, windows)), 12, 4000
    places, partners = np.zeros((windows, windows)), np.zeros((windows, windows))
    for epoch in range(epochs):
        drawn = np.array(order(lengths, batch_size, epoch=epoch))
        places[drawn, np.arange(windows)] += 1
        for first in range(0, windows, batch_size):
            batch = drawn[first : first + batch_size]
            partners[np.ix_(batch, batch)] += 1
    together = sum(len(b) * (len(b) - 1) for b in np.split(np.arange(windows), range(batch_size, windows, batch_size)))
    pairs = partners[~np.eye(windows, dtype=bool)]
    # of 128² counts the largest lies 4.1 standard deviations off in the mean, beyond 5.5 once in 1,600 tests
    assert deviation(places, epochs, 1 / windows) < 5.5
    chance = together / (windows * (windows - 1))
    assert windows <= batch_size or deviation(pairs, epochs, chance) < 5.5


@pytest.mark.parametrize("windows", [16 * 24, 16 * 24 + 5, 900])
def test_in_a_large_set_every_window_has_the_same_chance_in_every_place(windows: int) -> None:
    lengths, batch_size, epochs = np.sort(np.random.default_rng(1).integers(30, 384, windows)), 12, 1500
    in_last, in_first_places, longest_partners = Counter[int](), Counter[int](), set[int]()
    left_over = windows % batch_size
    for epoch in range(epochs):
        drawn = order(lengths, batch_size, epoch=epoch)
        in_last.update(drawn[windows - left_over :])
        in_first_places.update(drawn[: windows - left_over : batch_size])
        batch = drawn.index(windows - 1) // batch_size
        longest_partners |= set(drawn[batch * batch_size : (batch + 1) * batch_size])
    for counts, share in ((in_last, left_over / windows), (in_first_places, (windows // batch_size) / windows)):
        numbers = np.array([counts[i] for i in range(windows)])
        assert share == 0 or deviation(numbers, epochs, share) < 5
    assert len(longest_partners) > 16 * batch_size  # the longest one too meets more than 16 batches full of others


def test_sixteen_windows_are_never_the_same_few_batches() -> None:
    lengths = np.arange(16)
    batches = {frozenset(order(lengths, 12, epoch=epoch)[:12]) for epoch in range(50)}
    assert len(batches) > 45


class Numbers(Dataset):
    """Windows that carry their own number."""

    lengths = np.random.default_rng(0).integers(1, 300, 500)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> int:
        return index


def batches_of_trainer(tmp_path: Path, epochs: list[int], batch_size: int = 4, **arguments: Any) -> list[list[int]]:
    """What Trainer's own data loader gives in these epochs."""
    settings = QATrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=batch_size, report_to="none", **arguments
    )
    template: Any = None
    trainer = QATrainer(nn.Linear(1, 1), settings, template=template, train_dataset=Numbers())
    trainer.data_collator = lambda batch: {"numbers": batch}  # type: ignore[assignment]
    loader = trainer.get_train_dataloader()
    found = []
    for epoch in epochs:
        loader.set_epoch(epoch)  # type: ignore[attr-defined]
        found += [batch["numbers"] for batch in loader]
    return found


def test_a_resumed_run_and_accumulated_parts_see_the_same_order(tmp_path: Path) -> None:
    whole = batches_of_trainer(tmp_path, [0, 1], batch_size=8)
    assert sorted(itertools.chain(*whole[:63])) == list(range(500)) and whole[:63] != whole[63:]
    assert batches_of_trainer(tmp_path, [1], batch_size=8) == whole[63:]
    assert batches_of_trainer(tmp_path, [0], batch_size=8, data_seed=1) != whole[:63]
    parts = batches_of_trainer(tmp_path, [0], gradient_accumulation_steps=2)
    assert list(itertools.chain(*parts)) == list(itertools.chain(*whole[:63]))
