"""Every flag of the originals' run_mrqa.py is taken, or refused by a line that names its successor."""

import re
from pathlib import Path
from typing import Any

import pytest

from finetuning import flags
from kosplinter_common.cli import InputError
from tests.finetuning.tiny_qa import qass_folder

# The 56 flags of run_mrqa.py, with values as their scripts and help texts have them.
ORIGINAL = """
--model_type=bert --model_name_or_path={model} --output_dir=out --qass_head=True --initialize_new_qass=False
--data_dir=data --train_file=train.jsonl --predict_file=dev.jsonl --config_name={model} --tokenizer_name={model}
--cache_dir=.cache --version_2_with_negative --null_score_diff_threshold=0.5 --max_seq_length=384 --doc_stride=128
--max_query_length=64 --do_train --do_eval --evaluate_during_training --evaluate_every_epoch=False
--disable_segments_embeddings=False --per_gpu_train_batch_size=8 --per_gpu_eval_batch_size=8 --learning_rate=5e-5
--gradient_accumulation_steps=1 --weight_decay=0.0 --adam_epsilon=1e-8 --max_grad_norm=1.0 --num_train_epochs=3.0
--max_steps=-1 --min_steps=-1 --warmup_ratio=0 --n_best_size=20 --max_answer_length=30 --verbose_logging --lang_id=0
--logging_steps=500 --save_steps=500 --no_cuda --overwrite_output_dir --overwrite_cache --use_cache=False --seed=42
--local_rank=-1 --fp16_opt_level=O1 --server_ip= --server_port= --threads=4 --dataset_format=squad --dataset=squad
--dont_output_nbest --nbest_calculation
"""
REFUSED = {
    "--eval_all_checkpoints": "--evaluate_every_epoch",
    "--disable_segments_embeddings=True": "--qass_head=True",
    "--lang_id=3": "without them",
    "--fp16_opt_level=O2": "--fp16 is O1",
    "--server_ip=10.0.0.1": "debugpy",
    "--server_port 5678": "debugpy",
    "--config_name=elsewhere": "--model_name_or_path",
    "--do_lower_case": "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qass_folder(tmp_path_factory.mktemp("old") / "model")


def parse(command: str) -> tuple[Any, ...]:
    return flags.parse_settings(flags.make_parser("run_qa.py", "", *flags.SETTINGS), command.split())


def test_all_flags_are_known() -> None:
    elsewhere = {"fp16", "eval_steps"}  # which need a GPU, and an evaluation by steps
    assert len(set(re.findall(r"--(\w+)", f"{ORIGINAL} --do_lower_case --eval_all_checkpoints")) | elsewhere) == 56


def test_the_flags_are_taken(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", constants.HF_HUB_CACHE)
    settings, data, schedule, arguments = parse(ORIGINAL.format(model=model))
    assert (data.train_file, data.predict_file) == ("data/train.jsonl", "data/dev.jsonl")
    assert settings.model_name_or_path == settings.tokenizer_name == str(model)
    assert arguments.per_device_train_batch_size == 8 and arguments.use_cpu and schedule.threads == 4
    assert not schedule.evaluate_every_epoch and constants.HF_HUB_CACHE == ".cache"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 7 and all(" is not needed: " in line for line in said)


@pytest.mark.parametrize(("flag", "successor"), REFUSED.items())
def test_what_is_done_otherwise_is_refused_with_its_successor(model: Path, flag: str, successor: str) -> None:
    with pytest.raises(InputError, match=f"^{flag.split('=')[0].split()[0]}: .*{re.escape(successor)}"):
        parse(f"--model_name_or_path={model} --output_dir=out {flag}")


def test_a_lower_casing_tokenizer_takes_do_lower_case(model: Path) -> None:
    from transformers import BertTokenizer

    BertTokenizer(vocab={"[UNK]": 0, "a": 1}, do_lower_case=True).save_pretrained(model.parent / "uncased")
    parse(f"--model_name_or_path={model} --output_dir=out --do_lower_case --tokenizer_name {model.parent}/uncased")


@pytest.mark.parametrize("flag", ["--lang_id", "--cache_dir", "--server_ip", "--threads"])
def test_a_flag_without_its_value_is_named_in_short(model: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(f"--model_name_or_path={model} --output_dir=out {flag}")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[0].endswith("[flags] (--help lists them)") and flag in said[1]


def test_an_unknown_flag_is_named(model: Path) -> None:
    with pytest.raises(InputError, match=r"^found --max_sequence 3, expected flags that --help lists$"):
        parse(f"--model_name_or_path={model} --output_dir=out --max_sequence 3")


def test_every_pattern_of_a_list_lies_in_data_dir(model: Path, tmp_path: Path) -> None:
    (tmp_path / "c,d.json").touch()
    files = f"--data_dir {tmp_path} --train_file a.json,b*.json --predict_file c,d.json"
    _, data, *_ = parse(f"--model_name_or_path={model} --output_dir=out --config_name={model}/ {files}")
    assert data.train_file == f"{tmp_path}/a.json,{tmp_path}/b*.json" and data.predict_file == f"{tmp_path}/c,d.json"


def test_our_flags_pass_unchanged(model: Path) -> None:
    settings, data, _, arguments = parse(
        f"--model_name_or_path {model} --output_dir=out --max_steps -1 --train_file /a/b.json --data_dir d"
    )
    assert data.train_file == "/a/b.json" and arguments.max_steps == -1 and settings.tokenizer_name is None
