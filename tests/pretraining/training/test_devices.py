"""Flags that would have no effect on this machine, and what is said of bfloat16."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.settings import PretrainingSettings
from pretraining.training import devices
from pretraining.training.estimators import session_config


def settings(**values: Any) -> PretrainingSettings:
    return PretrainingSettings("c", "o", input_file="r", do_train=True, **values)


def test_xla_is_refused_on_a_cpu_and_asked_for_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--use_xla: found no GPU"):
        devices.check_devices(settings(use_xla=True))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    levels = []
    for use_xla in (True, False):
        devices.check_devices(settings(use_xla=use_xla))
        levels.append(session_config(settings(use_xla=use_xla)).graph_options.optimizer_options.global_jit_level)
    assert levels == [tf.compat.v1.OptimizerOptions.ON_1, tf.compat.v1.OptimizerOptions.DEFAULT]


@pytest.mark.parametrize("tf_config", ["", "{}", '{"cluster": {"ps": ["localhost:1"]}}'])
def test_several_workers_need_to_be_named(monkeypatch: pytest.MonkeyPatch, tf_config: str) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(InputError, match=r"--distribution=multi_worker: found no workers in .* TF_CONFIG"):
        devices.check_devices(settings(distribution="multi_worker"))
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["localhost:1"]}}))
    devices.check_devices(settings(distribution="multi_worker"))


@pytest.mark.parametrize("tf_config", ["[]", '{"cluster": ["localhost:1"]}', '{"task": 1}'])
def test_a_tf_config_of_another_form_is_named(monkeypatch: pytest.MonkeyPatch, tf_config: str) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(InputError, match=r"TF_CONFIG: found .*, expected a JSON object with"):
        devices.cluster_of_workers()


@pytest.mark.parametrize(
    ("flags", "asked_for", "said"),
    [
        ("fpu avx512f avx512_bf16 amx_tile", False, r"\(avx512_bf16\): --use_bfloat16 was measured"),
        ("fpu avx512f avx512_bf16 amx_tile", True, ""),
        ("fpu avx2 avx512f", False, ""),
        ("fpu avx2 avx512f", True, "this processor has no bfloat16"),
    ],
)
def test_bfloat16_is_offered_where_it_is_and_missed_where_it_is_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    flags: str,
    asked_for: bool,
    said: str,
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "cpuinfo")
    with caplog.at_level("INFO", "absl"):
        devices.check_devices(settings(use_bfloat16=asked_for))
    assert len(caplog.messages) == bool(said) and re.search(said, caplog.text)
