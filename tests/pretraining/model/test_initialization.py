"""--init_checkpoint: every variable accounted for."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.model.configuration import BertConfig
from pretraining.model.initialization import assign, config_of_start, init_from_checkpoint, list_checkpoint
from pretraining.settings import PretrainingSettings
from pretraining.training import run

GRAPH = {"bert/a/kernel": [2, 3], "bert/a/LayerNorm/gamma": [3], "cls/b": [3]}


def test_every_variable_is_loaded_missing_or_left_over() -> None:
    checkpoint = {
        "bert/a/kernel": [2, 3],
        "bert/a/kernel/adam_m": [2, 3],
        "bert/a/layer_normalization_12/gamma": [3],
        "bert/pooler/dense/kernel": [3, 3],
        "bert/pooler/dense/kernel/lamb_v": [3, 3],
        "bert/a/kernel/BERTAdam": [2, 3],
        "bert/a/kernel/other": [2],
        "beta1_power": [],
        "loss": [],
        "global_step": [],
    }
    assignment = assign(GRAPH, checkpoint, "ckpt")
    assert assignment.loaded == {
        "bert/a/kernel": "bert/a/kernel",
        "bert/a/layer_normalization_12/gamma": "bert/a/LayerNorm/gamma",
    }
    assert assignment.missing == ("cls/b",)
    assert assignment.left_over == ("bert/a/kernel/other", "bert/pooler/dense/kernel", "loss")
    assert assignment.passed_over == {
        **{f"bert/{name}": "optimizer slot" for name in ("a/kernel/BERTAdam", "a/kernel/adam_m")},
        "bert/pooler/dense/kernel/lamb_v": "optimizer slot",
        "beta1_power": "optimizer's scalar",
        "global_step": "step counter",
    }


def test_other_shapes_and_other_models_are_named() -> None:
    with pytest.raises(InputError, match=r"ckpt: bert/a/kernel: found shape \[5, 3\], expected \[2, 3\]"):
        assign(GRAPH, {"bert/a/kernel": [5, 3]}, "ckpt")
    with pytest.raises(InputError, match="found none of this model's variables"):
        assign(GRAPH, {"resnet/kernel": [5, 3]}, "ckpt")


KOSPLINTER = {"vocab_size": 35_000}
OURS = {"qass_layer_norm_eps": 1e-5}


@pytest.mark.parametrize(
    ("names", "config", "flag", "expected", "said"),
    [
        ("layer_normalization_3", {}, None, (1e-3, 1e-3), "named layer_normalization_K"),
        ("LayerNorm", {}, None, (1e-12, 1e-12), "named LayerNorm"),
        ("LayerNorm", {}, 1e-3, (1e-3, 1e-3), ""),
        ("LayerNorm", KOSPLINTER, None, None, ""),
        ("LayerNorm", KOSPLINTER, 1e-3, (1e-3, 1e-3), ""),
        ("layer_normalization", KOSPLINTER, None, (1e-3, 1e-3), "named layer_normalization_K"),
        ("LayerNorm", KOSPLINTER | OURS, None, (1e-12, 1e-5), ""),
        ("layer_normalization", OURS, None, (1e-12, 1e-5), "were trained with Keras's 0.001"),
        ("layer_normalization", OURS, 1e-3, (1e-3, 1e-5), ""),
    ],
)
def test_epsilons_of_a_start(
    names: str,
    config: dict[str, float],
    flag: float | None,
    expected: tuple[float, float] | None,
    said: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"vocab_size": 60} | config))
    variables = {f"bert/embeddings/{names}/gamma": [3]}
    if expected is None:
        with pytest.raises(InputError, match="expected --layer_norm_eps with the one"):
            config_of_start(str(path), variables, flag)
        return
    with caplog.at_level("INFO", "absl"):
        found = config_of_start(str(path), variables, flag)
    assert (found.layer_norm_eps, found.qass_layer_norm_eps) == expected
    assert said in caplog.text and bool(said) == ("epsilon" in caplog.text)


def test_a_run_takes_its_epsilon_from_where_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"vocab_size": 60}')
    monkeypatch.setattr(run, "list_checkpoint", lambda path: {"bert/embeddings/layer_normalization/gamma": [3]})

    def stop(patterns: str, settings: PretrainingSettings, config: BertConfig) -> None:
        found.append(config.layer_norm_eps)
        raise InputError("seen")

    monkeypatch.setattr(run, "_open", stop)
    found: list[float] = []

    def epsilon(**more: object) -> float:
        given = {"bert_config_file": str(tmp_path / "config.json"), "output_dir": str(tmp_path), "input_file": "x"}
        with pytest.raises(InputError, match="seen"):
            run.prepare(PretrainingSettings(**given | {"do_train": True} | more))
        return found[-1]

    assert (epsilon(), epsilon(init_checkpoint="x"), epsilon(layer_norm_eps=1e-6)) == (1e-12, 1e-3, 1e-6)


def test_values_arrive(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "m.ckpt")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in (("bert/w", 3.0), ("bert/layer_normalization/gamma", 5.0), ("bert/pooler", 1.0)):
            tf.compat.v1.get_variable(name, initializer=value, use_resource=True)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, path)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session, caplog.at_level("INFO", "absl"):
        names = ("bert/w", "bert/LayerNorm/gamma", "cls/new")
        variables = [tf.compat.v1.get_variable(name, initializer=0.5, use_resource=True) for name in names]
        init_from_checkpoint(path)
        session.run(tf.compat.v1.global_variables_initializer())
        np.testing.assert_array_equal(session.run(variables), [3.0, 5.0, 0.5])
    for line in ("loaded     bert/w", "missing    cls/new", "left over  bert/pooler"):
        assert line in caplog.text


def test_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.index").write_bytes(b"nonsense" * 20)
    for name in ("none", "x"):
        with pytest.raises(InputError, match=f"{name}: not a readable TensorFlow checkpoint"):
            list_checkpoint(str(tmp_path / name))
