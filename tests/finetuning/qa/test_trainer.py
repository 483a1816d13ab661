"""Batches of similar length are still random, complete, and the same for the same seed and epoch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetuning.qa.trainer import SimilarLengthSampler


@given(st.lists(st.integers(1, 384), min_size=1, max_size=200), st.integers(1, 16), st.integers(0, 3))
def test_every_window_comes_once_per_epoch(lengths: list[int], batch_size: int, epoch: int) -> None:
    sampler = SimilarLengthSampler(np.array(lengths), batch_size, seed=0)
    sampler.set_epoch(epoch)
    assert sorted(sampler) == list(range(len(lengths))) and len(sampler) == len(lengths)


def test_order_depends_on_seed_and_epoch_only() -> None:
    lengths = np.random.default_rng(0).integers(1, 384, 100)

    def order(seed: int, epoch: int) -> list[int]:
        sampler = SimilarLengthSampler(lengths, 8, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_batches_waste_little_and_come_in_no_order_of_length() -> None:
    lengths = np.random.default_rng(0).integers(30, 384, 4800)
    batches = lengths[list(SimilarLengthSampler(lengths, 12, seed=0))].reshape(-1, 12)
    assert batches.max(1).sum() * 12 < 1.03 * lengths.sum()  # random batches: 1.7 times
    longest = batches.max(1)
    # the rank correlation of 400 random batches with their place has standard deviation 0.05
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.2
