"""--initializer through a run: the first step begins with the structured values, a checkpoint given goes first."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.model.structured_start import initial_values
from pretraining.settings import PretrainingSettings
from pretraining.training.run import run
from pretraining.training.starting_weights import STRUCTURED_FOLDER
from tests.pretraining.samples import small_config, write_config, write_shards


@pytest.fixture
def settings(tmp_path: Path) -> PretrainingSettings:
    write_shards(tmp_path / "records", [24])
    return PretrainingSettings(
        bert_config_file=write_config(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        output_dir=str(tmp_path / "out"),
        input_file=str(tmp_path / "records/*.tfrecord"),
        do_train=True,
        initializer="structured",
        recurring_span_selection=True,
        train_batch_size=4,
        num_train_steps=1,
        num_warmup_steps=0,
        learning_rate=1e-9,  # weights stay where they began
    )


def weights(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder))
    names = [n for n in reader.get_variable_to_shape_map() if "/adam_" not in n and n.startswith(("bert/", "cls/"))]
    return {name: reader.get_tensor(name) for name in names}


def test_a_run_begins_there_goes_on_and_leaves_nothing_behind(settings: PretrainingSettings, tmp_path: Path) -> None:
    run(settings)
    found = weights(tmp_path / "out")
    shapes = {name: list(value.shape) for name, value in found.items()}
    for name, value in initial_values(shapes, small_config(), settings.random_seed).items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
    assert not (tmp_path / "out" / STRUCTURED_FOLDER).exists()
    run(dataclasses.replace(settings, num_train_steps=2))  # resumes without it
    assert not (tmp_path / "out" / STRUCTURED_FOLDER).exists()

    given = dataclasses.replace(
        settings, output_dir=str(tmp_path / "other"), init_checkpoint=str(tmp_path / "out/model.ckpt-2")
    )
    run(dataclasses.replace(given, random_seed=9))
    for name, value in weights(tmp_path / "other").items():
        np.testing.assert_allclose(value, found[name], atol=1e-5, err_msg=name)


def test_a_config_it_cannot_serve_is_one_line(settings: PretrainingSettings, tmp_path: Path) -> None:
    config = write_config(tmp_path, hidden_size=30, num_attention_heads=10)
    changed = dataclasses.replace(settings, bert_config_file=config)
    with pytest.raises(InputError, match="--initializer=structured: found a head size of 3"):
        run(changed)
