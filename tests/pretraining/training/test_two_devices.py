"""MirroredStrategy on two logical CPU devices against one device with the whole batch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pretraining.model.replicas import Replicas
from tests.pretraining.samples import write_shards
from tests.pretraining.training.test_train_step import batch, build_train_step, load_random_weights, settings, tensors

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("two_devices")
    write_shards(folder / "records", [9, 12])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        build_train_step(tensors(batch()), settings(), Replicas())
        load_random_weights(session)
        saver = tf.compat.v1.train.Saver(tf.compat.v1.trainable_variables())
        saver.save(session, str(folder / "start.ckpt"), write_meta_graph=False)
    command = [sys.executable, "-m", "tests.pretraining.training.two_devices", str(folder)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


def test_spreading_a_batch_over_devices_and_parts_changes_nothing(results: dict[str, Any]) -> None:
    expected, found = results["one"]["state"], results["two"]["state"]
    assert found.keys() == expected.keys()
    assert any(name.endswith("adam_m") for name in found) and expected["global_step"] == 3
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=name)


def test_spreading_the_evaluation_changes_nothing(results: dict[str, Any]) -> None:
    expected, found = results["one"]["eval"], results["two"]["eval"]
    for name in expected.keys() - {"loss"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name


def test_each_replica_has_its_own_dropout(results: dict[str, Any]) -> None:
    one, other = results["dropout_keys"]
    assert one != other
