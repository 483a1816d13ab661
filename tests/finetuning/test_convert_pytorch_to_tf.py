"""The way back: round trips to the bit, encoders equal to transformers', [QUESTION] placed, projections folded."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    ElectraConfig,
    ElectraForPreTraining,
    PreTrainedModel,
)

from finetuning.conversion import to_tensorflow
from finetuning.conversion.dialects import Source, open_source
from finetuning.conversion.encoders import run_encoder
from finetuning.conversion.tensors import locate, open_reader
from finetuning.conversion.to_tensorflow import BackConversionConfig
from finetuning.conversion.to_torch import ConversionConfig, convert
from finetuning.convert_pytorch_to_tf import main
from kosplinter_common.cli import InputError, exit_with_one_line
from tests.finetuning.converted import config_for
from tests.finetuning.tiny_checkpoints import SIZES, TinyCheckpoint, make_batch, vocabulary, write_vocabulary

WITHOUT_QUESTION = [token.replace("[QUESTION]", "[unused100]") for token in vocabulary(splinter_order=True)]
PARITY = 1e-5


def back(model: Path, output: Path, **values: object) -> None:
    to_tensorflow.convert(
        BackConversionConfig(**{"checkpoint": str(model), "output": str(output), "verify": False} | values)
    )


def tensors(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / "model.ckpt"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def source_of(folder: Path) -> Source:
    checkpoint = locate(str(folder))
    return open_source(checkpoint, open_reader(checkpoint), folder / "bert_config.json", {})


@pytest.mark.parametrize(
    ("dialect", "format"),
    [("own", "qass"), ("own_tanh", "splinter"), ("splinter", "splinter"), ("kosplinter", "splinter-remote")],
)
def test_round_trip_is_exact_to_the_bit(
    dialect: str, format: str, tiny: dict[str, TinyCheckpoint], tmp_path: Path
) -> None:
    checkpoint = tiny[dialect]
    convert(config_for(checkpoint, tmp_path / "there", format=format))
    back(tmp_path / "there", tmp_path / "back")
    convert(ConversionConfig(str(tmp_path / "back"), str(tmp_path / "again"), format=format, verify=False))
    for name in ("model.safetensors", "config.json", "tokenizer.json", "vocab.txt"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    originals = {re.sub("layer_normalization(_[0-9]+)?", "LayerNorm", n): v for n, v in checkpoint.variables.items()}
    written = tensors(tmp_path / "back")
    assert len(written) == 55 - 1  # all of the converted model's but its token types, which are zero
    for name, values in written.items():
        assert values.tobytes() == originals[name].tobytes()


def test_a_checkpoint_in_many_shards_is_one_checkpoint(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    convert(config_for(tiny["own"], tmp_path / "there"))
    back(tmp_path / "there", tmp_path / "whole")
    (tmp_path / "shards").mkdir()
    to_tensorflow.write_checkpoint(source_of(tmp_path / "whole"), tmp_path / "shards" / "model.ckpt", shard_bytes=4096)
    whole, shards = tensors(tmp_path / "whole"), tensors(tmp_path / "shards")
    assert whole.keys() == shards.keys() and all((whole[name] == shards[name]).all() for name in whole)
    files = sorted(file.name for file in (tmp_path / "shards").iterdir())
    assert len(files) > 10 and files[-1] == "model.ckpt.index" and not any("part" in name for name in files)
    convert(ConversionConfig(str(tmp_path / "whole"), str(tmp_path / "out"), verify=False))
    assert sorted(file.name for file in (tmp_path / "whole").iterdir()) == [
        "bert_config.json",
        "model.ckpt.data-00000-of-00001",
        "model.ckpt.index",
        "vocab.txt",
    ]


def noisy(model: PreTrainedModel, folder: Path, tokens: list[str]) -> PreTrainedModel:
    """Every parameter moved at random, saved with its vocabulary."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    write_vocabulary(folder / "vocab.txt", tokens)
    return model.eval()


def hidden_states(model: PreTrainedModel, tokens: list[str]) -> np.ndarray:
    batch = make_batch(tokens)
    with torch.no_grad():
        outputs = model.base_model(
            torch.from_numpy(batch.input_ids),
            attention_mask=torch.from_numpy(batch.input_mask),
            position_ids=torch.from_numpy(batch.position_ids),
        )
    return outputs.last_hidden_state.numpy()


def models() -> dict[str, PreTrainedModel]:
    return {
        "bert": BertForMaskedLM(BertConfig(**SIZES, layer_norm_eps=1e-6)),
        "bert_tanh": BertForMaskedLM(BertConfig(**SIZES, hidden_act="gelu_new")),
        "electra": ElectraForPreTraining(ElectraConfig(**SIZES, embedding_size=SIZES["hidden_size"])),
    }


@pytest.mark.parametrize("name", models())
def test_encoders_give_what_transformers_gives(name: str, tmp_path: Path) -> None:
    """Token types, which our graph has not, are folded in; no head is invented."""
    tokens = vocabulary(splinter_order=True)
    model = noisy(models()[name], tmp_path / "model", tokens)
    back(tmp_path / "model", tmp_path / "init")
    source = source_of(tmp_path / "init")
    assert not source.has_head and not any("token_type" in name for name in tensors(tmp_path / "init"))
    actual = run_encoder(source, make_batch(tokens))
    np.testing.assert_allclose(actual, hidden_states(model, tokens), atol=PARITY)


def test_question_gets_a_new_row_like_masks(tmp_path: Path) -> None:
    model = noisy(models()["bert"], tmp_path / "model", WITHOUT_QUESTION)
    back(tmp_path / "model", tmp_path / "init", verify=True)
    words = tensors(tmp_path / "init")["bert/embeddings/word_embeddings"]
    before = model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(words, np.concatenate([before, before[WITHOUT_QUESTION.index("[MASK]")][None]]))
    assert (tmp_path / "init" / "vocab.txt").read_text().split() == [*WITHOUT_QUESTION, "[QUESTION]"]
    config = json.loads((tmp_path / "init" / "bert_config.json").read_text())
    assert (config["vocab_size"], config["question_token_id"], config["pad_token_id"]) == (129, 128, 0)
    assert config["hidden_act"] == "gelu" and config["qass_layer_norm_eps"] == 1e-5 and config["layer_norm_eps"] == 1e-6
    convert(ConversionConfig(str(tmp_path / "init"), str(tmp_path / "out"), format="splinter"))


def test_question_takes_a_named_slot(tmp_path: Path) -> None:
    model = noisy(models()["bert"], tmp_path / "model", WITHOUT_QUESTION)
    back(tmp_path / "model", tmp_path / "init", question_slot="[unused7]")
    words = tensors(tmp_path / "init")["bert/embeddings/word_embeddings"]
    np.testing.assert_array_equal(words, model.get_input_embeddings().weight.detach().numpy())
    assert (tmp_path / "init" / "vocab.txt").read_text().split().index("[QUESTION]") == 7
    for slot, message in (("[MASK]", "needed itself"), ("[unused999]", "is not among its 128 tokens")):
        with pytest.raises(InputError, match=message):
            back(tmp_path / "model", tmp_path / "no", question_slot=slot)
    with_question = write_vocabulary(tmp_path / "vocab.txt", vocabulary(splinter_order=True))
    with pytest.raises(InputError, match="has id 104 already"):
        back(tmp_path / "model", tmp_path / "no", question_slot="[unused7]", vocab_file=str(with_question))
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("written", ["tokenizer", "added_tokens.json", "tokenizer_config.json"])
def test_question_as_an_added_token_keeps_its_row(written: str, tmp_path: Path) -> None:
    """tokenizer.add_tokens and model.resize_token_embeddings, as users do; the vocabulary file does not tell of it."""
    tokens = [*WITHOUT_QUESTION, "[QUESTION]"]
    resized = BertForMaskedLM(BertConfig(**SIZES | {"vocab_size": len(tokens)}))
    model = noisy(resized, tmp_path / "model", WITHOUT_QUESTION)
    if written == "tokenizer":
        tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(WITHOUT_QUESTION)})
        tokenizer.add_tokens(["[QUESTION]"])
        tokenizer.save_pretrained(tmp_path / "model")
        assert len(tokenizer) == len(tokens)
    else:
        row = {"[QUESTION]": 128} if written[0] == "a" else {"added_tokens_decoder": {"128": {"content": "[QUESTION]"}}}
        (tmp_path / "model" / written).write_text(json.dumps(row))
    back(tmp_path / "model", tmp_path / "init")
    assert (tmp_path / "init" / "vocab.txt").read_text().split() == tokens
    words = tensors(tmp_path / "init")["bert/embeddings/word_embeddings"]
    np.testing.assert_array_equal(words, model.get_input_embeddings().weight.detach().numpy())
    (tmp_path / "model" / "added_tokens.json").write_text('{"[QUESTION]": 130}')
    with pytest.raises(InputError, match=r"added token \[QUESTION\] has id 130, expected 12[89]"):
        back(tmp_path / "model", tmp_path / "no")


def projected_electra(embedding_size: int) -> ElectraForPreTraining:
    return ElectraForPreTraining(ElectraConfig(**SIZES, embedding_size=embedding_size))


def test_a_projection_that_is_an_isometry_is_folded_exactly(tmp_path: Path) -> None:
    """W · gamma = c [Q; -Q] with Q orthogonal keeps lengths up to a factor, and means at zero."""
    tokens = vocabulary(splinter_order=True)
    model = noisy(projected_electra(16), tmp_path / "model", tokens)
    rotation = torch.linalg.qr(torch.randn(16, 16)).Q * 1.7
    with torch.no_grad():
        gamma = model.electra.embeddings.LayerNorm.weight
        model.electra.embeddings_project.weight.copy_(torch.cat([rotation, -rotation]) / gamma)
    model.save_pretrained(tmp_path / "model")
    back(tmp_path / "model", tmp_path / "init", verify=True)
    actual = run_encoder(source_of(tmp_path / "init"), make_batch(tokens))
    np.testing.assert_allclose(actual, hidden_states(model, tokens), atol=PARITY)


def test_other_projections_are_refused_with_the_reason_or_taken_as_a_start(tmp_path: Path) -> None:
    tokens = vocabulary(splinter_order=True)
    noisy(projected_electra(16), tmp_path / "model", tokens)
    with pytest.raises(
        InputError, match=r"projection 16 to 32 cannot be folded .*: a layer norm stands between .* off by \d+\.\d%"
    ):
        back(tmp_path / "model", tmp_path / "init")
    assert not (tmp_path / "init").exists()
    back(tmp_path / "model", tmp_path / "init", max_projection_error=0.6)
    assert tensors(tmp_path / "init")["bert/embeddings/word_embeddings"].shape == (128, 32)
    noisy(projected_electra(48), tmp_path / "wide", tokens)
    with pytest.raises(InputError, match=r"projection 48 to 32 cannot be folded .*: the encoder is narrower"):
        back(tmp_path / "wide", tmp_path / "no", max_projection_error=0.6)


def test_verification_fails_where_encoders_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy(models()["bert"], tmp_path / "model", vocabulary(splinter_order=True))
    monkeypatch.setattr(to_tensorflow, "fold_token_types", lambda source: source)  # row 0 would be lost in our graph
    original = to_tensorflow.write_checkpoint

    def without_token_types(source: Source, prefix: Path) -> None:
        source.shapes.pop("bert/embeddings/token_type_embeddings")
        original(source, prefix)

    monkeypatch.setattr(to_tensorflow, "write_checkpoint", without_token_types)
    with pytest.raises(InputError, match="hidden states differ by"):
        back(tmp_path / "model", tmp_path / "init", verify=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy(models()["bert"], tmp_path / "model", WITHOUT_QUESTION)
    flags = [f"--pytorch_model_path={tmp_path / 'model'}", f"--tf_dump_path={tmp_path / 'init'}", "--no-verify"]
    monkeypatch.setattr(sys, "argv", ["convert_pytorch_to_tf.py", *flags])
    exit_with_one_line(main)
    assert (tmp_path / "init" / "model.ckpt.index").is_file()
    (tmp_path / "model" / "config.json").write_text("{")
    with pytest.raises(SystemExit, match=r"^error: .*config.json: broken JSON[^\n]*$"):
        exit_with_one_line(main)
