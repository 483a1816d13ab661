"""The rule that tells configs of this project from those of the public TensorFlow systems."""

import json
from pathlib import Path
from typing import Any

import pytest

from kosplinter_common.cli import InputError
from pretraining.model.configuration import BertConfig


def read(folder: Path, keras_layer_norm: bool = False, **values: Any) -> BertConfig:
    path = folder / "config.json"
    path.write_text(json.dumps({"vocab_size": 100, **values}), encoding="utf-8")
    return BertConfig.from_json_file(path, keras_layer_norm)


def test_own_config_keeps_hugging_faces_meaning(tmp_path: Path) -> None:
    config = read(tmp_path, qass_layer_norm_eps=1e-5, hidden_act="gelu")
    assert (config.hidden_act, config.layer_norm_eps, config.qass_layer_norm_eps) == ("gelu", 1e-12, 1e-5)
    assert read(tmp_path, keras_layer_norm=True, qass_layer_norm_eps=1e-5, layer_norm_eps=1e-6).layer_norm_eps == 1e-6


@pytest.mark.parametrize(("keras_layer_norm", "epsilon"), [(False, 1e-12), (True, 1e-3)])
def test_public_config_means_tanh_and_one_epsilon(tmp_path: Path, keras_layer_norm: bool, epsilon: float) -> None:
    config = read(
        tmp_path, keras_layer_norm, hidden_act="gelu", pooler_type="first_token_transform", directionality="bidi"
    )
    assert (config.hidden_act, config.layer_norm_eps, config.qass_layer_norm_eps) == (
        "gelu_pytorch_tanh",
        epsilon,
        epsilon,
    )
    assert read(tmp_path, keras_layer_norm).hidden_act == "gelu_pytorch_tanh"
    assert read(tmp_path, keras_layer_norm, hidden_act="relu").hidden_act == "relu"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 30, "num_attention_heads": 4}, "hidden_size: found 30, expected a multiple"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: found 0"),
        ({"vocab_size": "many"}, "vocab_size: found 'many'"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob: found 1.0"),
        ({"hidden_act": "swish9"}, "hidden_act: found 'swish9'"),
    ],
)
def test_impossible_values_are_named_with_the_file(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match="config.json: " + message):
        read(tmp_path, **values)


def test_missing_broken_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: not found, expected a config"):
        BertConfig.from_json_file(tmp_path / "none.json")
    for text, message in (
        ("{", "broken JSON"),
        ("[]", "found list, expected a JSON object"),
        ("{}", "found no vocab_size"),
    ):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(InputError, match=message):
            BertConfig.from_json_file(tmp_path / "c.json")


@pytest.mark.parametrize("preset", sorted((Path(__file__).parents[3] / "pretraining/configs").glob("*.json")), ids=str)
def test_presets_are_configs_of_this_project(preset: Path) -> None:
    values = json.loads(preset.read_text(encoding="utf-8"))
    assert "qass_layer_norm_eps" in values
    config = BertConfig.from_json_file(preset)
    assert config.max_position_embeddings == 512 and config.hidden_size == 64 * config.num_attention_heads
