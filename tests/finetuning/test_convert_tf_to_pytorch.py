"""Every dialect and format against the dialect's own graph, and every fault with its own error."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import SplinterForQuestionAnswering

from finetuning.conversion import to_tensorflow, to_torch
from finetuning.conversion.to_tensorflow import BackConversionConfig
from finetuning.conversion.to_torch import convert
from finetuning.convert_tf_to_pytorch import main
from finetuning.modeling import ModelWithQASSHead
from kosplinter_common.cli import InputError, exit_with_one_line
from kosplinter_common.records.examples import ExampleEncoder, RecordSpec
from kosplinter_common.records.tfrecords import write_records
from tests.finetuning.converted import PARITY, assert_same, config_for, inputs_of, run_qass
from tests.finetuning.tiny_checkpoints import (
    DIALECTS,
    LENGTH,
    QUESTIONS,
    TinyCheckpoint,
    make_checkpoint,
    save_variables,
    vocabulary,
    write_vocabulary,
)

WITH_HEAD = [name for name, dialect in DIALECTS.items() if dialect.head]


@pytest.mark.parametrize("dialect", WITH_HEAD)
def test_qass_gives_the_answers_of_the_dialects_own_graph(
    dialect: str, tiny: dict[str, TinyCheckpoint], tmp_path: Path
) -> None:
    convert(config_for(tiny[dialect], tmp_path / "out"))
    assert_same(tiny[dialect], *run_qass(tmp_path / "out", tiny[dialect]))


def test_bert_keeps_its_encoder_and_gets_a_new_head(
    tiny: dict[str, TinyCheckpoint], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bert = tiny["bert"]
    convert(config_for(bert, tmp_path / "out", verify=True))
    assert "head is new" in capsys.readouterr().out
    assert "head is new" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    model = ModelWithQASSHead.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        hidden = model.bert(**inputs_of(bert)).last_hidden_state.numpy()
    np.testing.assert_allclose(hidden, bert.hidden, atol=PARITY)
    types = model.bert.embeddings.token_type_embeddings.weight.detach().numpy()
    np.testing.assert_array_equal(types, bert.variables["bert/embeddings/token_type_embeddings"])


def test_formats_load_without_this_project(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    """Stock classes, remote code and tokenizers in one process that cannot import us; both orders of vocabulary."""
    splinter_order = make_checkpoint(tmp_path / "ordered", "own", splinter_order=True)
    convert(config_for(tiny["own"], tmp_path / "stock", format="splinter"))
    convert(config_for(splinter_order, tmp_path / "stock_ordered", format="splinter"))
    convert(config_for(tiny["kosplinter"], tmp_path / "remote", format="splinter-remote"))
    convert(config_for(tiny["splinter"], tmp_path / "qass"))
    for name, checkpoint in (("own", tiny["own"]), ("ordered", splinter_order), ("kosplinter", tiny["kosplinter"])):
        inputs = inputs_of(checkpoint) | {"questions": torch.from_numpy(checkpoint.batch.question_positions)}
        torch.save(inputs, tmp_path / f"{name}.pt")
    (tmp_path / "elsewhere.py").write_text(_ELSEWHERE, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "elsewhere.py"], cwd=tmp_path, env=environment, check=True)
    found = np.load(tmp_path / "found.npz")
    for name, checkpoint in (("own", tiny["own"]), ("ordered", splinter_order), ("kosplinter", tiny["kosplinter"])):
        assert_same(checkpoint, found[f"{name}_start"], found[f"{name}_end"])
    first = found["own_first_start"]  # the class for answering: the first question of each row
    assert np.abs(first - tiny["own"].start_logits[:, 0])[tiny["own"].batch.visible[:, 0]].max() < PARITY
    read = json.loads((tmp_path / "tokens.json").read_text(encoding="utf-8"))
    assert read["stock"]["ids"] == {"question": 0, "pad": 1} == read["qass"]["ids"] == read["remote"]["ids"]
    assert read["stock_ordered"]["ids"] == {"question": 104, "pad": 0}
    expected = "[CLS] 이순신 ##은 누구 ##인가 ? [QUESTION] . [SEP] 이순신 ##은 장군 ##이다 . [SEP]"
    for name in ("stock", "stock_ordered", "qass", "remote"):
        assert " ".join(read[name]["tokens"]) == expected


_ELSEWHERE = """
import importlib.util, json
import numpy as np, torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
from transformers import SplinterForPreTraining, SplinterForQuestionAnswering

assert importlib.util.find_spec("finetuning") is None
found = {}
def run(name, model, key):
    inputs = torch.load(f"{name}.pt")
    questions = inputs.pop("questions")
    with torch.no_grad():
        outputs = model.eval()(**inputs, **({key: questions} if key else {}))
    name += "" if key else "_first"
    found[name + "_start"], found[name + "_end"] = outputs.start_logits.numpy(), outputs.end_logits.numpy()
run("own", SplinterForPreTraining.from_pretrained("stock"), "question_positions")
run("own", SplinterForQuestionAnswering.from_pretrained("stock"), None)
run("ordered", SplinterForPreTraining.from_pretrained("stock_ordered"), "question_positions")
run("kosplinter", AutoModelForQuestionAnswering.from_pretrained("remote", trust_remote_code=True), "masked_positions")
np.savez("found.npz", **found)
tokens = {}
for folder in ("stock", "stock_ordered", "qass", "remote"):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("이순신은 누구인가?", "이순신은 장군이다.").input_ids
    tokens[folder] = {
        "ids": {"question": tokenizer.question_token_id, "pad": tokenizer.pad_token_id},
        "tokens": tokenizer.convert_ids_to_tokens(ids),
    }
json.dump(tokens, open("tokens.json", "w"))
"""


def test_remote_code_loads_beside_this_project(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    from transformers import AutoModelForQuestionAnswering

    convert(config_for(tiny["splinter"], tmp_path / "out", format="splinter-remote"))
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert type(model).__name__ == "ModelWithQASSHead"


def test_stock_format_measures_what_it_cannot_express(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    exact, stock = convert(config_for(tiny["kosplinter"], tmp_path / "out", format="splinter", verify=True))
    assert exact.maximum < PARITY < 1e-4 < stock.maximum
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for line in (*stock.lines(), "epsilon is 0.001", "gelu_pytorch_tanh", "not exactly the pretrained model"):
        assert line in card
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert not weights["splinter.embeddings.token_type_embeddings.weight"].any()
    convert(config_for(tiny["own"], tmp_path / "exact", format="splinter"))
    assert "not exactly" not in (tmp_path / "exact" / "README.md").read_text(encoding="utf-8")


def test_verification_names_the_layer_that_parts_first(
    tiny: dict[str, TinyCheckpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = to_torch.write_model

    def spoiled(source: object, *arguments: object) -> None:
        name = "bert/encoder/layer_1/attention/output/dense/bias"
        original(source.with_computed({name: source.read(name) * 1.1}), *arguments)

    monkeypatch.setattr(to_torch, "write_model", spoiled)
    with pytest.raises(InputError, match=r"differs by .* first layer to part: bert/encoder/layer_1/attention/output"):
        convert(config_for(tiny["own"], tmp_path / "out", verify=True))
    assert not list(tmp_path.iterdir())


def test_verification_on_records(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    batch = tiny["kosplinter"].batch
    spec = RecordSpec(max_seq_length=LENGTH, max_questions_per_seq=QUESTIONS, max_predictions_per_seq=0)
    encoder = ExampleEncoder(spec)
    columns = {
        "input_ids": batch.input_ids,
        "input_mask": batch.input_mask,
        "masked_span_positions": batch.question_positions,
        "masked_span_beginnings": batch.beginnings,
        "masked_span_endings": batch.endings,
        "masked_span_weights": (batch.question_positions > 0).astype(np.float32),
    }
    rows = [{name: values[row] for name, values in columns.items()} for row in range(len(batch.input_ids))]
    write_records(tmp_path / "a.tfrecord", map(encoder.encode, rows))
    given = {"verify": True, "verify_records": str(tmp_path / "*.tfrecord")}
    exact, _ = convert(config_for(tiny["kosplinter"], tmp_path / "out", **given))
    assert exact.origin == "3 records of a.tfrecord" and 0 < exact.maximum < PARITY


def test_average_of_the_last_checkpoints(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    name = "cls/span_predictions/start_classifier"
    values = {step: tiny["own"].variables | {name: np.full((32, 32), step, np.float32)} for step in (1, 20, 100, 900)}
    for step, variables in values.items():
        save_variables(tmp_path / f"model.ckpt-{step}", variables)
    config = config_for(tiny["own"], tmp_path / "out", checkpoint=str(tmp_path / "model.ckpt-100"), average_last=2)
    convert(config)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert (weights["qass.start_classifier.weight"] == 60).all()
    untouched = tiny["own"].variables["bert/embeddings/word_embeddings"]
    np.testing.assert_array_equal(weights["bert.embeddings.word_embeddings.weight"], untouched)
    with pytest.raises(InputError, match="average_last=4: found 3 checkpoints"):
        convert(config_for(tiny["own"], tmp_path / "no", checkpoint=str(tmp_path / "model.ckpt-100"), average_last=4))


def test_overrides_and_the_rule_for_configs(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    def written(dialect: str, **overrides: object) -> tuple[str, float, float]:
        convert(config_for(tiny[dialect], tmp_path / "out", **overrides))
        config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
        return config["hidden_act"], config["layer_norm_eps"], config["qass_layer_norm_eps"]

    assert written("own") == ("gelu", 1e-12, 1e-5)
    assert written("splinter") == ("gelu_pytorch_tanh", 1e-12, 1e-12)
    assert written("kosplinter") == ("gelu_pytorch_tanh", 1e-3, 1e-3)
    assert written("splinter", layer_norm_eps=1e-6, hidden_act="gelu") == ("gelu", 1e-6, 1e-6)
    assert written("own", layer_norm_eps=1e-6) == ("gelu", 1e-6, 1e-5)
    assert written("own", qass_layer_norm_eps=1e-6) == ("gelu", 1e-12, 1e-6)
    with pytest.raises(InputError, match="hidden_act: found 'gleu'"):
        written("own", hidden_act="gleu")


def with_kosplinters_vocabulary(checkpoint: TinyCheckpoint, folder: Path) -> None:
    """A checkpoint of 35,000 pieces, the first those of KoSplinter, with its config and vocabulary."""
    name, size = "bert/embeddings/word_embeddings", 35_000
    words = checkpoint.variables[name]
    lm_bias = {"cls/predictions/output_bias": np.zeros(size, np.float32)}
    more = np.zeros((size - len(words), words.shape[1]), np.float32)
    slots = {key: values for key, values in checkpoint.variables.items() if not key.endswith(("adam_m", "adam_v"))}
    folder.mkdir()
    save_variables(folder / "model.ckpt-1", slots | {name: np.concatenate([words, more])} | lm_bias)
    config = json.loads(checkpoint.config.read_text()) | {"vocab_size": size}
    (folder / "bert_config.json").write_text(json.dumps(config))
    write_vocabulary(folder / "vocab.txt", vocabulary(size=size))


def original_state_dict(folder: Path) -> dict[str, torch.Tensor]:
    """A converted model's weights as the original's PyTorch code names and holds them."""
    state = {}
    for name, values in load_file(folder / "model.safetensors").items():
        original = name.replace("qass.", "cls.span_predictions.")
        is_classifier = "classifier" in name
        state[original.removesuffix(".weight") if is_classifier else original] = values.T if is_classifier else values
    return state


def test_epsilons_are_said_with_what_they_are_taken_from(
    tiny: dict[str, TinyCheckpoint], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dialect, said in (
        ("own", "1e-12, in QASS 1e-05, as bert_config.json says"),
        ("splinter", "1e-12, in QASS 1e-12, assumed: the original Splinter's, as the layer norms are named LayerNorm"),
        ("kosplinter", "0.001, in QASS 0.001, assumed: Keras's default, as the layer norms are named layer_norm"),
    ):
        convert(config_for(tiny[dialect], tmp_path / "out", verify=dialect == "splinter"))
        printed, card = capsys.readouterr().out, (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
        assert f"epsilon: {said}" in printed and said.split(", ", 2)[2] in card
        assert ("the epsilons are taken as given" in printed) == (dialect == "splinter")
    convert(config_for(tiny["splinter"], tmp_path / "out", layer_norm_eps=1e-3))
    assert "epsilon: 0.001, in QASS 0.001, as --layer_norm_eps says" in capsys.readouterr().out


def test_a_renamed_kosplinter_is_asked_about(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    """KoSplinter's notebook gives its layer norms the original's names: only the vocabulary is left to know it by."""
    with_kosplinters_vocabulary(tiny["splinter"], tmp_path / "renamed")
    given = {"bert_config_file": None, "vocab_file": None, "checkpoint": str(tmp_path / "renamed")}
    config = config_for(tiny["splinter"], tmp_path / "out", **given)
    with pytest.raises(InputError, match=r"found KoSplinter's vocabulary \(0\.001\).*expected --layer_norm_eps"):
        convert(config)
    assert not (tmp_path / "out").exists()
    convert(dataclasses.replace(config, layer_norm_eps=1e-3))
    written = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert written["layer_norm_eps"] == written["qass_layer_norm_eps"] == 1e-3
    convert(dataclasses.replace(config, checkpoint=str(tmp_path / "out"), output=str(tmp_path / "again")))

    (tmp_path / "bin").mkdir()
    torch.save(original_state_dict(tmp_path / "out"), tmp_path / "bin" / "pytorch_model.bin")
    for name in ("bert_config.json", "vocab.txt"):
        (tmp_path / "bin" / name).write_bytes((tmp_path / "renamed" / name).read_bytes())
    with pytest.raises(InputError, match=r"found KoSplinter's vocabulary .*expected --layer_norm_eps"):
        convert(dataclasses.replace(config, checkpoint=str(tmp_path / "bin")))
    back = BackConversionConfig(str(tmp_path / "bin"), str(tmp_path / "init"), verify=False)
    with pytest.raises(InputError, match=r"found KoSplinter's vocabulary .*expected --layer_norm_eps"):
        to_tensorflow.convert(back)
    to_tensorflow.convert(dataclasses.replace(back, layer_norm_eps=1e-3))
    written = json.loads((tmp_path / "init" / "bert_config.json").read_text(encoding="utf-8"))
    assert written["layer_norm_eps"] == written["qass_layer_norm_eps"] == 1e-3


@pytest.mark.parametrize(
    ("dialect", "told", "message"),
    [
        ("splinter", {"layer_norm_eps": 1e-3}, "found 0.001 there, and names of a system with 1e-12"),
        ("kosplinter", {"layer_norm_eps": 1e-12, "qass_layer_norm_eps": 1e-12}, "found 1e-12 there, and names that"),
    ],
)
def test_names_and_configs_that_tell_different_epsilons_are_refused(
    dialect: str, told: dict[str, float], message: str, tiny: dict[str, TinyCheckpoint], tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(tiny[dialect].config.read_text()) | told))
    with pytest.raises(InputError, match=message):
        convert(config_for(tiny[dialect], tmp_path / "out", bert_config_file=str(config)))
    convert(config_for(tiny[dialect], tmp_path / "out", bert_config_file=str(config), layer_norm_eps=1e-6))


def test_config_and_vocabulary_must_agree(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    tokens = vocabulary()
    shorter = write_vocabulary(tmp_path / "shorter.txt", tokens[:-1])
    asked = write_vocabulary(tmp_path / "unasked.txt", [token.replace("[QUESTION]", "[Q]") for token in tokens])
    twice = write_vocabulary(tmp_path / "twice.txt", [*tokens[:-1], "조선"])
    broken = tmp_path / "broken.txt"
    broken.write_bytes("조선\n".encode("euc-kr"))
    for vocab, message in (
        (shorter, "vocab_size: found 128, expected 127"),
        (asked, r"\[QUESTION\] is not among its 128 tokens"),
        (twice, "'조선' stands there twice"),
        (broken, "broken.txt: not a WordPiece vocabulary in UTF-8"),
        (tmp_path / "none.txt", "none.txt: vocabulary not found"),
    ):
        with pytest.raises(InputError, match=message):
            convert(config_for(tiny["own"], tmp_path / "out", vocab_file=str(vocab)))
    with pytest.raises(InputError, match="config not found"):
        convert(config_for(tiny["own"], tmp_path / "out", bert_config_file=str(tmp_path / "none.json")))
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_without_a_dot_is_said_aloud(
    tiny: dict[str, TinyCheckpoint], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dotless = write_vocabulary(tmp_path / "dotless.txt", [token.replace(".", "·") for token in vocabulary()])
    convert(config_for(tiny["own"], tmp_path / "out", vocab_file=str(dotless)))
    said = f"'.' is not in {dotless}"
    assert said in capsys.readouterr().out and said in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_model_card_tells_where_the_model_comes_from(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    folder = tmp_path / "run" / "best"
    folder.mkdir(parents=True)
    save_variables(folder / "model.ckpt-5", tiny["own"].variables)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "dataset.json").write_text(
        json.dumps({"flags": {"dupe_factor": 5}, "counts": {"records": 77}})
    )
    run = {"flags": {"learning_rate": 1e-4, "input_file": f"{tmp_path}/records/*.tfrecord"}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    (folder / "eval_results.json").write_text(json.dumps({"exact_span": 0.25}))
    convert(config_for(tiny["own"], tmp_path / "out", checkpoint=str(folder), license="cc-by-sa-4.0"))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for line in (
        "license: cc-by-sa-4.0",
        "| flags.dupe_factor | 5 |",
        "| counts.records | 77 |",
        "| learning_rate | 0.0001 |",
        "| input_file | *.tfrecord |",
        "| exact_span | 0.25 |",
        "was not verified",
    ):
        assert line in card


def test_entry_point_converts_and_ends_with_one_line(
    tiny: dict[str, TinyCheckpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*tiny["own"].flags(tmp_path / "out"), "--no-verify"]
    monkeypatch.setattr(sys, "argv", ["convert_tf_to_pytorch.py", *flags])
    exit_with_one_line(main)
    assert (tmp_path / "out" / "model.safetensors").is_file()
    monkeypatch.setattr(sys, "argv", [argument.replace("model.ckpt-1000", "model.ckpt-7") for argument in sys.argv])
    with pytest.raises(SystemExit, match=r"^error: .*model.ckpt-7: no checkpoint there[^\n]*$"):
        exit_with_one_line(main)


def test_stock_class_answers_like_this_projects(tiny: dict[str, TinyCheckpoint], tmp_path: Path) -> None:
    """The first [QUESTION] of each row, ids from the config."""
    convert(config_for(tiny["own"], tmp_path / "stock", format="splinter"))
    convert(config_for(tiny["own"], tmp_path / "qass"))
    inputs = inputs_of(tiny["own"])
    with torch.no_grad():
        stock = SplinterForQuestionAnswering.from_pretrained(tmp_path / "stock").eval()(**inputs)
        own = ModelWithQASSHead.from_pretrained(tmp_path / "qass").eval()(**inputs)
    visible = inputs["attention_mask"].bool()
    torch.testing.assert_close(own.start_logits[visible], stock.start_logits[visible], atol=PARITY, rtol=0)
    torch.testing.assert_close(own.end_logits[visible], stock.end_logits[visible], atol=PARITY, rtol=0)
