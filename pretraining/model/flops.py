"""Arithmetic of a training step, counted by hand, and what devices can do at most."""

import os
import re
from dataclasses import dataclass

import tensorflow as tf

from kosplinter_common.records.examples import RecordSpec
from pretraining.model.configuration import BertConfig


def forward_flops(config: BertConfig, spec: RecordSpec) -> float:
    """Floating-point operations of one example's forward pass: matrix products only, a multiply-add counted as 2.

    Embeddings are gathers. Of each QASS transform the query's runs on max_questions_per_seq rows, the key's on all.
    """
    length, hidden = spec.max_seq_length, config.hidden_size
    projections = 4 * 2 * length * hidden * hidden
    attention = 2 * 2 * length * length * hidden
    feed_forward = 2 * 2 * length * hidden * config.intermediate_size
    total = config.num_hidden_layers * (projections + attention + feed_forward)
    if questions := spec.max_questions_per_seq:
        keys = 2 * length * hidden * hidden
        queries = 2 * 2 * questions * hidden * hidden  # transform and classifier
        total += 2 * (keys + queries + 2 * questions * length * hidden)
    if predictions := spec.max_predictions_per_seq:
        total += 2 * predictions * hidden * (hidden + config.vocab_size)
    return float(total)


def training_flops(config: BertConfig, spec: RecordSpec) -> float:
    """Forward and backward of one example: every product has two more in the backward pass."""
    return 3.0 * forward_flops(config, spec)


@dataclass(frozen=True)
class Peak:
    """Dense matrix products of one device at most, FLOP/s, from the makers' data sheets."""

    bfloat16: float
    float32: float  # TPUs multiply in bfloat16 whatever is asked for; GPUs with TF32 where they have it


# Per TPU core, two of which make a chip: v2 45 and v3 123 TFLOP/s a chip.
TPU_CORES = {"v2": Peak(22.5e12, 22.5e12), "v3": Peak(61.5e12, 61.5e12)}
# By a word of the device's name: an L40S is no L4.
GPUS = {
    "H200": Peak(989e12, 494e12),
    "H100": Peak(989e12, 494e12),
    "A100": Peak(312e12, 156e12),
    "L4": Peak(121e12, 60e12),
    "A10": Peak(125e12, 62.5e12),
    "V100": Peak(15.7e12, 15.7e12),
    "T4": Peak(8.1e12, 8.1e12),
}


def peak_of_run(use_bfloat16: bool, tpu_cores: int, gpus: int) -> float | None:
    """FLOP/s of all devices of this host's run together at most; None where the device is not known (any CPU).

    A TPU VM says what it is in the environment variable TPU_ACCELERATOR_TYPE.
    """
    if tpu_cores:
        kind = os.environ.get("TPU_ACCELERATOR_TYPE", "").split("-")[0]
        return TPU_CORES[kind].bfloat16 * tpu_cores if kind in TPU_CORES else None
    devices = tf.config.list_physical_devices("GPU")[:gpus]
    if not devices:
        return None
    name = tf.config.experimental.get_device_details(devices[0]).get("device_name", "")
    for part, peak in GPUS.items():
        if re.search(rf"\b{part}\b", name):
            return (peak.bfloat16 if use_bfloat16 else peak.float32) * gpus
    return None
