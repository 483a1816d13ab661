"""Weights: all of a checkpoint's have a place, none of the model's begins at random unsaid, and all are float32."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForPreTraining

from finetuning.qa.model import load_qa_model
from finetuning.qa.settings import ModelSettings
from kosplinter_common.cli import InputError
from tests.finetuning.tiny_qa import bert_folder, electra_folder, klue_roberta_folder, qass_folder, splinter_folder

Weights = dict[str, torch.Tensor]
FOLDERS: dict[str, Callable[[Path], Path]] = {
    "qass": qass_folder,
    "splinter": splinter_folder,
    "bert": bert_folder,
    "electra": electra_folder,
    "roberta": klue_roberta_folder,
}


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FOLDERS[request.param](tmp_path_factory.mktemp("model") / request.param)


def changed(folder: Path, change: Callable[[Weights], Weights], to: Path) -> str:
    """A copy of a model folder with other weights."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    save_file(change(load_file(folder / "model.safetensors")), to / "model.safetensors", {"format": "pt"})
    return str(to)


def load(path: Path | str, **settings: Any) -> Any:
    return load_qa_model(ModelSettings(model_name_or_path=str(path), **settings), 48).model


def prefixed(weights: Weights) -> Weights:
    return {f"module.{name}": values for name, values in weights.items()}


def one_layer_more(weights: Weights) -> Weights:
    layer = {name: values for name, values in weights.items() if ".layer.0." in name}
    return weights | {name.replace(".layer.0.", ".layer.1."): values.clone() for name, values in layer.items()}


def without_a_bias(weights: Weights) -> Weights:
    return {name: values for name, values in weights.items() if not name.endswith("0.output.dense.bias")}


def half_a_head(weights: Weights) -> Weights:
    name = next(name for name in weights if re.search(r"qa_outputs.bias|start_transform.dense.bias", name))
    return {other: values for other, values in weights.items() if other != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (prefixed, r"\d+ missing \(.*\d+ not known \(module\."),
        (one_layer_more, r"0 missing, 16 not known \(.*layer\.1\."),
        (without_a_bias, r"1 missing \(.*0\.output\.dense\.bias\), 0 not known"),
        (half_a_head, r"1 missing \(.*(qa_outputs|start_transform.dense)\.bias\), 0 not known"),
        (lambda weights: weights | {"adapter.a": torch.ones(2)}, r"0 missing, 1 not known \(adapter\.a\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[Weights], Weights], message: str
) -> None:
    with pytest.raises(InputError, match=r"its weights do not fit \w+: " + message) as error:
        load(changed(folder, change, tmp_path / "changed"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder: Path, tmp_path: Path, value: float) -> None:
    def spoil(weights: Weights) -> Weights:
        name = next(name for name in weights if name.endswith("query.weight"))
        spoilt = weights[name].clone()
        spoilt[0, 1] = value  # one number among many
        return weights | {name: spoilt}

    with pytest.raises(InputError, match=r"no numbers or infinite, expected numbers \(.*query\.weight\)$"):
        load(changed(folder, spoil, tmp_path / "changed"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_loaded_in_single(folder: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    path = changed(folder, lambda ws: {name: w.to(dtype) for name, w in ws.items()}, tmp_path / "half")
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    (tmp_path / "half" / "config.json").write_text(json.dumps(config | {"dtype": str(dtype).removeprefix("torch.")}))
    whole = load_file(folder / "model.safetensors")
    model = load(path)
    model.save_pretrained(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert saved.keys() == whole.keys() and {values.dtype for values in saved.values()} == {torch.float32}
    assert all(torch.equal(saved[name], whole[name].to(dtype).float()) for name in whole)


def test_a_new_head_is_said_where_the_source_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bert_folder(tmp_path / "bert")
    load(path, qass_head=True)
    said = capsys.readouterr().err
    assert "the head is new and begins at random: qass." in said and "(head of another task): qa_outputs." in said
    model = load(path)
    assert "begins at random" not in (said := capsys.readouterr().err) and "passed over" not in said
    BertForPreTraining(model.config).save_pretrained(path)
    load(path)
    said = capsys.readouterr().err
    assert "begins at random: qa_outputs." in said and "(MLM head, pooler, pretraining head)" in said
    load(qass_folder(tmp_path / "qass"), initialize_new_qass=True)
    assert "--initialize_new_qass: the head begins at random" in capsys.readouterr().err


def test_a_pretrained_head_is_not_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Splinter in the original's layout, and this project's weights under a config of BERT."""
    folder = qass_folder(tmp_path / "qass")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "bert"}

    def original(weights: Weights) -> Weights:
        return {re.sub(r"^qass\.", "cls.span_predictions.", name): values for name, values in weights.items()}

    own, other = (changed(folder, change, tmp_path / name) for change, name in ((dict, "own"), (original, "original")))
    for path in (own, other):
        (Path(path) / "config.json").write_text(json.dumps(config))
    for settings in ({}, {"qass_head": True}):
        with pytest.raises(InputError, match=r"pretrained QASS head .*cls\.span_predictions.*convert_tf_to_pytorch"):
            load(other, **settings)
    with pytest.raises(InputError, match="say --qass_head=True"):
        load(own)
    kept = load(own, qass_head=True).qass.start_classifier.weight
    assert torch.equal(kept, load_file(folder / "model.safetensors")["qass.start_classifier.weight"])
    capsys.readouterr()
    assert type(load(other, qass_head=False)).__name__ == "BertForQuestionAnswering"
    assert "passed over 18 weights (QASS head)" in capsys.readouterr().err
