"""The analytic count against a plain sum over every matrix product."""

import pytest
import tensorflow as tf

from kosplinter_common.records.examples import RecordSpec
from pretraining.model.configuration import BertConfig
from pretraining.model.flops import forward_flops, peak_of_run, training_flops


def product(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


@pytest.mark.parametrize(("questions", "predictions"), [(30, 0), (0, 20), (7, 5)])
def test_count_is_the_sum_of_all_products(questions: int, predictions: int) -> None:
    config = BertConfig(
        vocab_size=1000, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80
    )
    length, hidden, head = 64, 48, 12
    layer = 4 * product(length, hidden, hidden) + product(length, hidden, 80) + product(length, 80, hidden)
    layer += 4 * (product(length, head, length) + product(length, length, head))
    total = 3 * layer
    if questions:
        side = product(length, hidden, hidden) + 2 * product(questions, hidden, hidden)
        total += 2 * (side + product(questions, hidden, length))
    if predictions:
        total += product(predictions, hidden, hidden) + product(predictions, hidden, 1000)
    spec = RecordSpec(length, questions, predictions)
    assert forward_flops(config, spec) == total and training_flops(config, spec) == 3 * total


def test_base_and_mini_are_as_known() -> None:
    """bert-base: 194 MFLOP a token forward; 4 x 256: 188 GFLOP/s at 14 examples/s (KoSplinter's figures)."""
    spec = RecordSpec(512, 30, 0)
    assert forward_flops(BertConfig(vocab_size=35000), spec) / 512 == pytest.approx(194e6, rel=0.02)
    mini = BertConfig(
        vocab_size=35000, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024
    )
    assert 14 * training_flops(mini, spec) == pytest.approx(188e9, rel=0.02)


@pytest.mark.parametrize(
    ("name", "bfloat16", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", True, 2 * 989e12),
        ("NVIDIA A100-SXM4-40GB", False, 2 * 156e12),
        ("Tesla T4", True, 2 * 8.1e12),
        ("NVIDIA L4", True, 2 * 121e12),
        ("NVIDIA L40S", True, None),
    ],
)
def test_peak_of_gpus(monkeypatch: pytest.MonkeyPatch, name: str, bfloat16: bool, peak: float | None) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["0", "1", "2"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {"device_name": name})
    assert peak_of_run(bfloat16, tpu_cores=0, gpus=2) == peak


def test_peak_of_a_tpu_and_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak_of_run(False, tpu_cores=0, gpus=1) is None
    monkeypatch.delenv("TPU_ACCELERATOR_TYPE", raising=False)
    assert peak_of_run(True, tpu_cores=8, gpus=0) is None
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v3-8")
    assert peak_of_run(True, tpu_cores=8, gpus=0) == 4 * 123e12
