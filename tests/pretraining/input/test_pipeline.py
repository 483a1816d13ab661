"""The stream of training records: every record once an epoch, entered anywhere, and eval's pass over all of them."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pretraining.input import pipeline as input_pipeline
from pretraining.input.pipeline import HostShare, RecordFiles, evaluation_batches, training_batches
from tests.pretraining.samples import SPEC, write_shards

SIZES = [7, 1, 12, 5, 9]
TOTAL = sum(SIZES)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RecordFiles:
    folder = tmp_path_factory.mktemp("records")
    write_shards(folder, SIZES, gzipped=(2,))
    paths = tuple(sorted(map(str, folder.glob("*.tfrecord"))))
    return RecordFiles(paths, tuple(SIZES), ("", "", "GZIP", "", ""))


@pytest.fixture(autouse=True)
def two_shards_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_pipeline, "SHARDS_PER_GROUP", 2)


def first_tokens(dataset: tf.data.Dataset, batches: int) -> list[int]:
    """Records are numbered in their first token."""
    taken = itertools.islice(dataset.as_numpy_iterator(), batches)
    return [int(token) for batch in taken for token in batch["input_ids"][:, 0]]


def stream(files: RecordFiles, count: int, seed: int = 3, seen: int = 0, share: HostShare | None = None) -> list[int]:
    return first_tokens(training_batches(files, SPEC, 1, seed, seen, 8, share or HostShare()), count)


def test_an_epoch_sees_every_record_once_in_an_order_of_its_own(files: RecordFiles) -> None:
    tokens = stream(files, 3 * TOTAL)
    epochs = [tokens[i * TOTAL : (i + 1) * TOTAL] for i in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(TOTAL))
    assert epochs[0] != epochs[1] != epochs[2] != sorted(epochs[2])
    assert stream(files, TOTAL) == epochs[0]
    assert stream(files, TOTAL, seed=4) != epochs[0]


@settings(max_examples=15, deadline=None)
@given(seen=st.integers(0, 4 * TOTAL))
def test_a_resumed_stream_goes_on_where_it_stood(files: RecordFiles, seen: int) -> None:
    whole = getattr(test_a_resumed_stream_goes_on_where_it_stood, "whole", None) or stream(files, 5 * TOTAL)
    test_a_resumed_stream_goes_on_where_it_stood.whole = whole
    assert stream(files, 20, seen=seen) == whole[seen : seen + 20]


def test_hosts_share_the_stream_without_overlap(files: RecordFiles) -> None:
    whole = stream(files, 2 * TOTAL)
    for host in range(2):
        assert stream(files, TOTAL, share=HostShare(2, host)) == whole[host::2]


@pytest.mark.parametrize(("batch_size", "replicas"), [(1, 1), (8, 1), (5, 3), (TOTAL, 1), (50, 2)])
def test_eval_counts_every_record_once(files: RecordFiles, batch_size: int, replicas: int) -> None:
    batches = list(evaluation_batches(files, SPEC, batch_size, replicas).as_numpy_iterator())
    assert len(batches) % replicas == 0 and all(len(batch["input_ids"]) == batch_size for batch in batches)
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    assert joined["input_ids"][:TOTAL, 0].tolist() == list(range(TOTAL))
    for name, array in joined.items():
        assert not array[TOTAL:].any(), name
    assert len(joined["input_ids"]) < TOTAL + batch_size * replicas


def test_batches_hold_what_was_written(tmp_path: Path) -> None:
    records = write_shards(tmp_path, [3])
    files = RecordFiles((str(next(tmp_path.glob("*.tfrecord"))),), (3,), ("",))
    (batch,) = evaluation_batches(files, SPEC, 3).as_numpy_iterator()
    assert batch.keys() == SPEC.features().keys()
    for name, array in batch.items():
        np.testing.assert_array_equal(array, np.stack([record[name] for record in records]))
        assert array.dtype == (np.float32 if name.endswith("weights") else np.int32)


def test_shuffling_is_near_uniform(files: RecordFiles) -> None:
    """With a buffer over the whole shard, each of its seven records comes first equally often."""
    one_shard = RecordFiles(files.paths[:1], (7,), ("",))
    firsts = Counter(stream(one_shard, 140 * 7)[::7])
    # 20 expected each; a binomial(140, 1/7) leaves 5..40 with probability below 1e-4
    assert set(firsts) == set(range(7)) and all(5 <= count <= 40 for count in firsts.values())
