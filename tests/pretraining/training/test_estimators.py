"""Which process of a cluster leads, and what TF_CONFIG may not be."""

import json

import pytest

from kosplinter_common.cli import InputError
from pretraining.settings import PretrainingSettings
from pretraining.training.estimators import is_chief, session_config

WORKERS = {"worker": ["localhost:1", "localhost:2"]}


@pytest.mark.parametrize(
    ("tf_config", "leads"),
    [
        ({}, True),
        ({"cluster": WORKERS, "task": {"type": "worker", "index": 0}}, True),
        ({"cluster": WORKERS, "task": {"type": "worker", "index": 1}}, False),
        ({"cluster": {**WORKERS, "chief": ["localhost:3"]}, "task": {"type": "worker", "index": 0}}, False),
        ({"cluster": {**WORKERS, "chief": ["localhost:3"]}, "task": {"type": "chief", "index": 0}}, True),
    ],
)
def test_one_process_leads(monkeypatch: pytest.MonkeyPatch, tf_config: dict, leads: bool) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps(tf_config))
    assert is_chief() is leads


def test_broken_tf_config_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", "{cluster")
    with pytest.raises(InputError, match="TF_CONFIG: broken JSON"):
        is_chief()


@pytest.mark.parametrize("use_bfloat16", [True, False])
def test_bfloat16_on_a_cpu_is_left_to_onednn(use_bfloat16: bool) -> None:
    settings = PretrainingSettings("c", "o", input_file="r", do_train=True, use_bfloat16=use_bfloat16)
    rewrite = session_config(settings).graph_options.rewrite_options
    assert (rewrite.auto_mixed_precision_onednn_bfloat16 == rewrite.ON) is use_bfloat16
