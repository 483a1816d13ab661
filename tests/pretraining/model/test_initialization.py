"""--init_checkpoint: every variable accounted for."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.model.initialization import assign, init_from_checkpoint, list_checkpoint

GRAPH = {"bert/a/kernel": [2, 3], "bert/a/LayerNorm/gamma": [3], "cls/b": [3]}


def test_every_variable_is_loaded_missing_or_left_over() -> None:
    checkpoint = {
        "bert/a/kernel": [2, 3],
        "bert/a/kernel/adam_m": [2, 3],
        "bert/a/layer_normalization_12/gamma": [3],
        "bert/pooler/dense/kernel": [3, 3],
        "global_step": [],
    }
    assignment = assign(GRAPH, checkpoint, "ckpt")
    assert assignment.loaded == {
        "bert/a/kernel": "bert/a/kernel",
        "bert/a/layer_normalization_12/gamma": "bert/a/LayerNorm/gamma",
    }
    assert assignment.missing == ("cls/b",)
    assert assignment.left_over == ("bert/pooler/dense/kernel",)


def test_other_shapes_and_other_models_are_named() -> None:
    with pytest.raises(InputError, match=r"ckpt: bert/a/kernel: found shape \[5, 3\], expected \[2, 3\]"):
        assign(GRAPH, {"bert/a/kernel": [5, 3]}, "ckpt")
    with pytest.raises(InputError, match="found none of this model's variables"):
        assign(GRAPH, {"resnet/kernel": [5, 3]}, "ckpt")


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
