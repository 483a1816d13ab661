"""Small record files and configs for the tests of this station."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from kosplinter_common.files import file_sha256
from kosplinter_common.records.dataset_info import DatasetInfo, ShardInfo, VocabInfo
from kosplinter_common.records.examples import ExampleEncoder, RecordSpec
from kosplinter_common.records.tfrecords import write_records
from pretraining.model.configuration import BertConfig

VOCAB_SIZE = 60
SPEC = RecordSpec(max_seq_length=16, max_questions_per_seq=3, max_predictions_per_seq=2)

Record = dict[str, np.ndarray]


def small_config(**values: Any) -> BertConfig:
    sizes = {"vocab_size": VOCAB_SIZE, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 16}
    return BertConfig(**{**sizes, **values})


def write_config(folder: Path, **values: Any) -> str:
    config = {"vocab_size": VOCAB_SIZE, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"intermediate_size": 48, "max_position_embeddings": 16, "qass_layer_norm_eps": 1e-5, **values}
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return str(path)


def random_record(random: np.random.Generator, first_id: int, spec: RecordSpec = SPEC) -> Record:
    """A record whose first token is `first_id`; a random number of questions and predictions is real."""
    length, questions, predictions = spec.max_seq_length, spec.max_questions_per_seq, spec.max_predictions_per_seq
    input_ids = random.integers(0, VOCAB_SIZE, length)
    input_ids[0] = first_id
    visible = int(random.integers(length // 2, length + 1))
    record = {"input_ids": input_ids, "input_mask": (np.arange(length) < visible).astype(np.int64)}
    if questions:
        real = np.arange(questions) < random.integers(1, questions + 1)
        for name in ("positions", "beginnings", "endings"):
            record[f"masked_span_{name}"] = random.integers(1, visible, questions) * real
        record["masked_span_weights"] = real.astype(np.float32)
    if predictions:
        real = np.arange(predictions) < random.integers(1, predictions + 1)
        record["masked_lm_positions"] = random.integers(1, visible, predictions) * real
        record["masked_lm_ids"] = random.integers(0, VOCAB_SIZE, predictions) * real
        record["masked_lm_weights"] = real.astype(np.float32)
    return record


def write_shards(
    folder: Path, sizes: list[int], spec: RecordSpec = SPEC, gzipped: tuple[int, ...] = (), vocab_size: int = VOCAB_SIZE
) -> list[Record]:
    """Shards of `sizes` random records, numbered through in their first token, with dataset.json; all the records."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(sizes))
    encoder = ExampleEncoder(spec)
    records, shards = [], []
    for shard, size in enumerate(sizes):
        new = [random_record(random, (len(records) + i) % VOCAB_SIZE, spec) for i in range(size)]
        path = folder / f"pretraining-{shard:05d}-of-{len(sizes):05d}.tfrecord"
        write_records(path, [encoder.encode(record) for record in new])
        if shard in gzipped:
            path.write_bytes(gzip.compress(path.read_bytes()))
        records += new
        shards.append(ShardInfo(path.name, size, path.stat().st_size, file_sha256(path)))
    vocab = VocabInfo("vocab.txt", vocab_size, "0" * 64)
    limits = (spec.max_seq_length, spec.max_questions_per_seq, spec.max_predictions_per_seq)
    DatasetInfo({}, *limits, vocab, {"records": len(records)}, {}, tuple(shards)).save(folder)
    return records
