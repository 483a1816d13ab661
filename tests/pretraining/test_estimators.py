"""Which process of a cluster leads, and what TF_CONFIG may not be."""

import json

import pytest

from common.cli import InputError
from pretraining.estimators import is_chief

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
