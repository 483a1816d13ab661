"""Where checkpoints come from: every fault of their variables has its own error, and no pickle runs."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import SplinterConfig, SplinterForPreTraining

from finetuning.conversion.tensors import locate
from finetuning.conversion.to_torch import ConversionConfig, convert
from finetuning.modeling import ModelWithQASSHead
from kosplinter_common.cli import InputError
from tests.finetuning.converted import PARITY, assert_same, config_for, run_qass
from tests.finetuning.tiny_checkpoints import (
    SIZES,
    TinyCheckpoint,
    Variables,
    make_batch,
    save_variables,
    vocabulary,
    write_vocabulary,
)


def drop(variables: Variables) -> None:
    del variables["cls/span_predictions/end_transform/dense/bias"]


def double(variables: Variables) -> None:
    gamma = variables["bert/embeddings/layer_normalization/gamma"]
    variables["bert/embeddings/layer_normalization_77/gamma"] = gamma


def rename(variables: Variables) -> None:
    variables["bert/encoder/layer_0/output/dense/weights"] = variables.pop("bert/encoder/layer_0/output/dense/kernel")


def reshape(variables: Variables) -> None:
    variables["bert/encoder/layer_1/intermediate/dense/bias"] = np.zeros(7, np.float32)


def mix(variables: Variables) -> None:
    gamma = variables.pop("bert/embeddings/layer_normalization/gamma")
    variables["bert/embeddings/LayerNorm/gamma"] = gamma


@pytest.mark.parametrize(
    ("dialect", "change", "message"),
    [
        ("own", drop, r"1 missing: cls/span_predictions/end_transform/dense/bias \[32\]$"),
        (
            "kosplinter",
            double,
            r"1 there twice: bert/embeddings/layer_normalization/gamma and .*normalization_77/gamma$",
        ),
        (
            "splinter",
            rename,
            r"1 missing: .*layer_0/output/dense/kernel \[48, 32\]; 1 not known: .*weights \[48, 32\]$",
        ),
        ("own", reshape, r"1 variables of another shape: .*intermediate/dense/bias found \[7\], expected \[48\]$"),
        ("kosplinter", mix, "two kinds of layer norm"),
    ],
)
def test_faulty_variables(
    dialect: str, change: object, message: str, tiny: dict[str, TinyCheckpoint], tmp_path: Path
) -> None:
    variables = dict(tiny[dialect].variables)
    change(variables)
    (tmp_path / "faulty").mkdir()
    save_variables(tmp_path / "faulty" / "model.ckpt-1", variables)
    config = config_for(tiny[dialect], tmp_path / "out", checkpoint=str(tmp_path / "faulty"))
    with pytest.raises(InputError, match=message):
        convert(config)
    assert [entry.name for entry in tmp_path.iterdir()] == ["faulty"]


@pytest.mark.parametrize("dialect", ["splinter", "kosplinter", "bert"])
def test_slots_of_any_optimizer_are_passed_over_with_the_reason(
    dialect: str, tiny: dict[str, TinyCheckpoint], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {n: v for n, v in tiny[dialect].variables.items() if not n.endswith(("adam_m", "adam_v", "global_step"))}
    slots = {f"{name}/{slot}": values for name, values in own.items() for slot in ("BERTAdam", "LAMB/lamb_m", "Adam_1")}
    scalars = {name: np.float32(0.9) for name in ("beta1_power", "beta2_power_1", "LAMB/beta1_power")}
    (tmp_path / "fork").mkdir()
    save_variables(tmp_path / "fork" / "model.ckpt-1", own | slots | {k: np.array(v) for k, v in scalars.items()})
    config = config_for(tiny[dialect], tmp_path / "out", checkpoint=str(tmp_path / "fork"))
    convert(config)
    printed = capsys.readouterr().out
    assert f"ignored {len(slots)} (optimizer slot)" in printed and "ignored 3 (optimizer's scalar)" in printed
    convert(config_for(tiny[dialect], tmp_path / "whole"))
    assert (tmp_path / "out/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    name = "bert/encoder/layer_0/output/dense/bias"
    for odd in ({f"{name}/lamb_m": np.zeros(7, np.float32)}, {"temperature": np.array(1.0, np.float32)}):
        save_variables(tmp_path / "fork" / "model.ckpt-1", own | odd)
        with pytest.raises(InputError, match="1 not known: " + next(iter(odd))):
            convert(config)


def cut(data: bytes) -> bytes:
    return data[:2000]


def flip(data: bytes) -> bytes:
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


@pytest.mark.parametrize(
    ("suffix", "damage"), [(".index", cut), (".data-00000-of-00001", cut), (".data-00000-of-00001", flip)]
)
def test_damaged_checkpoint(suffix: str, damage: object, tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    save_variables(tmp_path / "model.ckpt-1", tiny["own"].variables)
    file = tmp_path / f"model.ckpt-1{suffix}"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"model.ckpt-1.*(damaged|cut off)"):
        convert(config_for(tiny["own"], tmp_path / "out", checkpoint=str(tmp_path / "model.ckpt-1")))
    assert not [entry for entry in tmp_path.iterdir() if "out" in entry.name]


def test_checkpoint_is_found_however_it_is_named(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    prefix = tiny["own"].prefix
    for name in (
        prefix,
        prefix.parent,
        prefix.parent / "checkpoint",
        f"{prefix}.index",
        f"{prefix}.data-00000-of-00001",
    ):
        assert locate(str(name)).path == prefix
    (tmp_path / "only.ckpt.index").touch()  # a published archive has no `checkpoint` file
    assert locate(str(tmp_path)).path == tmp_path / "only.ckpt"
    (tmp_path / "other.ckpt.index").touch()
    for wrong, message in (
        (tmp_path, "found only.ckpt.index, other.ckpt.index"),
        (tmp_path / "no", "no checkpoint there"),
    ):
        with pytest.raises(InputError, match=message):
            locate(str(wrong))
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/gone/away/only.ckpt"\n')
    assert locate(str(tmp_path)).path == tmp_path / "only.ckpt"  # the folder has moved
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-9"\n')
    with pytest.raises(InputError, match=r"names model.ckpt-9, but .* is not there"):
        locate(str(tmp_path))


def test_output_never_takes_the_place_of_other_files(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    save_variables(tmp_path / "run" / "model.ckpt-1", tiny["own"].variables)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    for output in (tmp_path / "run", tmp_path):
        with pytest.raises(InputError, match=r"the checkpoint .* lies in it"):
            convert(config_for(tiny["own"], output, checkpoint=str(tmp_path / "run")))
    with pytest.raises(InputError, match="notes: exists and is no earlier conversion"):
        convert(config_for(tiny["own"], tmp_path / "notes"))
    assert sorted(tmp_path.rglob("*")) == before
    convert(config_for(tiny["own"], tmp_path / "out"))
    convert(config_for(tiny["splinter"], tmp_path / "out"))  # over an earlier conversion
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["hidden_act"] == "gelu_pytorch_tanh"


def stock_splinter(folder: Path) -> SplinterForPreTraining:
    """transformers' own class with every parameter random, saved with its vocabulary."""
    torch.manual_seed(1)
    model = SplinterForPreTraining(SplinterConfig(**SIZES, question_token_id=104, pad_token_id=0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    write_vocabulary(folder / "vocab.txt", vocabulary(splinter_order=True))
    return model


@pytest.mark.parametrize("form", ["safetensors", "shards", "pickle"])
def test_hugging_face_splinter(form: str, tmp_path: Path) -> None:
    model = stock_splinter(tmp_path / "stock")
    if form != "safetensors":
        (tmp_path / "stock" / "model.safetensors").unlink()
    if form == "shards":
        model.save_pretrained(tmp_path / "stock", max_shard_size="30KB")
        assert len(list((tmp_path / "stock").glob("*.safetensors"))) > 2
    if form == "pickle":
        torch.save(model.state_dict(), tmp_path / "stock" / "pytorch_model.bin")
    reports = convert(ConversionConfig(str(tmp_path / "stock"), str(tmp_path / "out"), verify=form == "safetensors"))
    assert reports is None or reports[0].maximum < 1e-4
    batch = make_batch(vocabulary(splinter_order=True))
    inputs = {"input_ids": torch.from_numpy(batch.input_ids), "attention_mask": torch.from_numpy(batch.input_mask)}
    positions = torch.from_numpy(batch.question_positions)
    with torch.no_grad():
        expected = model(**inputs, position_ids=torch.from_numpy(batch.position_ids), question_positions=positions)
        converted = ModelWithQASSHead.from_pretrained(tmp_path / "out").eval()
        actual = converted(**inputs, masked_positions=positions)
    for side in ("start_logits", "end_logits"):
        np.testing.assert_allclose(actual[side][batch.visible], expected[side][batch.visible], atol=PARITY)


def test_stock_encoder_with_another_gelu_than_its_head_needs_a_decision(tmp_path: Path) -> None:
    stock_splinter(tmp_path / "stock")
    config = json.loads((tmp_path / "stock" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "stock" / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu_new"}))
    with pytest.raises(InputError, match="hidden_act: found 'gelu_new' in the encoder"):
        convert(ConversionConfig(str(tmp_path / "stock"), str(tmp_path / "out"), verify=False))
    convert(ConversionConfig(str(tmp_path / "stock"), str(tmp_path / "out"), hidden_act="gelu_new", verify=False))


def original_state_dict(variables: Variables) -> dict[str, torch.Tensor]:
    """The original's PyTorch names, spelled out here: classifiers are bare matrices as in TensorFlow."""
    state = {"bert.embeddings.position_ids": torch.arange(40)[None]}
    for name, values in variables.items():
        if name.endswith(("adam_m", "adam_v")) or name == "global_step" or name.startswith("cls/predictions"):
            continue
        torch_name = name.replace("layer_0", "layer/0").replace("layer_1", "layer/1").replace("/", ".")
        torch_name = torch_name.replace("gamma", "weight").replace("beta", "bias").replace("kernel", "weight")
        torch_name += ".weight" if name.endswith("_embeddings") else ""
        state[torch_name] = torch.from_numpy(values.T.copy() if name.endswith("kernel") else values)
    return state


def test_state_dict_of_the_original(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    torch.save(original_state_dict(tiny["splinter"].variables), tmp_path / "splinter.bin")
    for place in (tmp_path / "splinter.bin", tmp_path):
        convert(config_for(tiny["splinter"], tmp_path / "out", checkpoint=str(place)))
        assert_same(tiny["splinter"], *run_qass(tmp_path / "out", tiny["splinter"]))


def test_half_precision_is_read_as_single(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    state = original_state_dict(tiny["splinter"].variables)
    torch.save({name: values.bfloat16() for name, values in state.items()}, tmp_path / "half.bin")
    convert(config_for(tiny["splinter"], tmp_path / "out", checkpoint=str(tmp_path / "half.bin")))
    read = load_file(tmp_path / "out" / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(read, state["bert.embeddings.word_embeddings.weight"].bfloat16().float())


class Crafted:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("pickle_ran",)


def test_a_crafted_pickle_is_refused_and_does_not_run(
    tiny: dict[str, TinyCheckpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"bert.weight": Crafted()}, tmp_path / "zip.bin")
    (tmp_path / "plain.bin").write_bytes(pickle.dumps({"bert.weight": Crafted()}, protocol=2))
    torch.save(original_state_dict(tiny["splinter"].variables), tmp_path / "cut.bin")
    (tmp_path / "cut.bin").write_bytes((tmp_path / "cut.bin").read_bytes()[:5000])
    (tmp_path / "cut.safetensors").write_bytes(b"\x20" + bytes(30))
    torch.save({"bert.weight": 3}, tmp_path / "number.bin")
    for name, message in (
        ("zip.bin", "refused"),
        ("plain.bin", "refused"),
        ("cut.bin", "refused"),
        ("cut.safetensors", "cut off"),
        ("number.bin", "expected a state dict of tensors"),
    ):
        with pytest.raises(InputError, match=f"{name}.*{message}"):
            convert(config_for(tiny["splinter"], tmp_path / "out", checkpoint=str(tmp_path / name)))
    assert not (tmp_path / "pickle_ran").exists() and not (tmp_path / "out").exists()
