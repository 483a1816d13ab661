"""One conversion to an --init_checkpoint of pretraining: read, account, fold what our graph lacks, place [QUESTION]."""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finetuning.conversion.batches import random_batch
from finetuning.conversion.dialects import Source, describe_ignored, open_source
from finetuning.conversion.encoders import run_encoder, run_transformers
from finetuning.conversion.names import Shape
from finetuning.conversion.tensors import Checkpoint, check_output, locate, open_reader
from finetuning.conversion.to_torch import find_config
from finetuning.conversion.verification import TOLERANCE, difference
from finetuning.conversion.vocabulary import (
    MASK,
    PAD,
    QUESTION,
    SPECIAL_TOKENS,
    VOCAB_FILE,
    Vocabulary,
    find_vocabulary,
    place_question_token,
)
from finetuning.conversion.weight_transforms import (
    EXACT_FOLD_ERROR,
    append_question_row,
    fold_projection,
    fold_token_types,
)
from kosplinter_common.cli import InputError
from kosplinter_common.files import atomic_directory

CHECKPOINT_NAME = "model.ckpt"
CONFIG_FILE = "bert_config.json"
SHARD_BYTES = 2**26


@dataclass(frozen=True)
class BackConversionConfig:
    """What to convert and where to; the entry point's flags under their names."""

    checkpoint: str
    output: str
    bert_config_file: str | None = None
    vocab_file: str | None = None
    question_slot: str | None = None
    layer_norm_eps: float | None = None
    max_projection_error: float = EXACT_FOLD_ERROR
    verify: bool = True
    verify_tolerance: float = TOLERANCE


def convert(config: BackConversionConfig) -> None:
    """Writes model.ckpt, bert_config.json and vocab.txt into a folder, or nothing.

    Raises:
      InputError: the model, its config and its vocabulary do not fit together, its embeddings cannot be expressed in
        our graph, or verification failed.
    """
    checkpoint = locate(config.checkpoint)
    check_output(config.output, checkpoint, CHECKPOINT_NAME + ".index")
    given = find_vocabulary(config.vocab_file, checkpoint.folder)
    given.require([token for token in SPECIAL_TOKENS if token != QUESTION])
    config_path = find_config(config.bert_config_file, checkpoint.folder)
    original = open_source(
        checkpoint, open_reader(checkpoint), config_path, {"layer_norm_eps": config.layer_norm_eps}, given
    )
    print(f"{original.reader.path}: {original.dialect.value}")
    print(f"epsilon: {original.config.layer_norm_eps:g}, {original.epsilon_origin}")
    for line in describe_ignored(original.ignored):
        print(line)
    if original.config.vocab_size != len(given):
        raise InputError(f"{config_path}: vocab_size: found {original.config.vocab_size}, expected {len(given)}")
    source, vocabulary = _fitted(original, given, config)
    with atomic_directory(config.output) as folder:
        write_checkpoint(source, folder / CHECKPOINT_NAME)
        text = json.dumps(dataclasses.asdict(source.config), indent=2) + "\n"
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
        vocabulary.write(folder / VOCAB_FILE)
        if config.verify:
            _verify(checkpoint, source, given, vocabulary, folder, config)
    print(f"wrote {config.output}; pretrain with --init_checkpoint={Path(config.output) / CHECKPOINT_NAME}")


def _fitted(original: Source, given: Vocabulary, config: BackConversionConfig) -> tuple[Source, Vocabulary]:
    """The source as our graph can hold it, and the vocabulary with [QUESTION]."""
    source, error = fold_projection(original, config.max_projection_error)
    if error > 0:
        print(f"embedding projection folded in; the encoder's input is off by {error:.1e} of its size")
    source = fold_token_types(source)
    vocabulary, sentence = place_question_token(given, config.question_slot)
    print(sentence)
    if len(vocabulary) > len(given):
        source = append_question_row(source, given.id_of(MASK))
    if not source.has_head:
        print("there is no span-selection head in the source: pretraining begins with a new one")
    pad, question = vocabulary.id_of(PAD), vocabulary.id_of(QUESTION)
    fitted = dataclasses.replace(source.config, pad_token_id=pad, question_token_id=question)
    return dataclasses.replace(source, config=fitted), vocabulary


def _verify(
    checkpoint: Checkpoint,
    source: Source,
    given: Vocabulary,
    vocabulary: Vocabulary,
    folder: Path,
    config: BackConversionConfig,
) -> None:
    """Holds what was written against transformers' own model of the source.

    Raises:
      InputError: the encoders differ by more than the tolerance, though no projection was folded inexactly.
    """
    batch = random_batch(vocabulary, source.config.max_position_embeddings)
    # a new row is [MASK]'s, so the source's model reads [MASK] there
    known = np.where(batch.input_ids < len(given), batch.input_ids, given.id_of(MASK))
    expected = run_transformers(checkpoint.folder, dataclasses.replace(batch, input_ids=known))
    if expected is None:
        print(f"not verified: {checkpoint.folder} is no folder that transformers loads by itself")
        return
    written = open_source(locate(str(folder)), open_reader(locate(str(folder))), folder / CONFIG_FILE, {})
    found = difference(expected, run_encoder(written, batch))
    print(f"verified: hidden states on {batch.origin}: {found}")
    if not found.maximum <= config.verify_tolerance and config.max_projection_error <= EXACT_FOLD_ERROR:
        raise InputError(
            f"{checkpoint.path}: verification failed: hidden states differ by {found.maximum:.2e}, "
            f"allowed {config.verify_tolerance:.0e}"
        )


def write_checkpoint(source: Source, prefix: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """One TensorFlow checkpoint of all parameters, under Google BERT's names, with one shard in memory at a time."""
    import tensorflow as tf

    parts: list[str] = []
    for tensors in _shards(source.shapes, shard_bytes):
        parts.append(f"{prefix}.part{len(parts)}")
        tf.raw_ops.SaveV2(
            prefix=parts[-1],
            tensor_names=tensors,
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.constant(source.read(name)) for name in tensors],
        )
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=False)


def _shards(shapes: dict[str, Shape], shard_bytes: int) -> Iterator[list[str]]:
    """Names in order, in groups of at most `shard_bytes` of float32, or of one tensor."""
    group: list[str] = []
    size = 0
    for name, shape in shapes.items():
        added = 4 * math.prod(shape)
        if group and size + added > shard_bytes:
            yield group
            group, size = [], 0
        group.append(name)
        size += added
    yield group
