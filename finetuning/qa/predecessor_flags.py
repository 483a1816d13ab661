"""Flags of the originals' run_mrqa.py that are not ours: carried out, passed over with a word, or refused."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from kosplinter_common.cli import InputError

RENAMED = {
    "--per_gpu_train_batch_size": "--per_device_train_batch_size",
    "--per_gpu_eval_batch_size": "--per_device_eval_batch_size",
    "--no_cuda": "--use_cpu",
    "--evaluate_during_training": "--evaluate_every_epoch",
}
# What they asked for is done anyway, or told by the data.
NOT_NEEDED = {
    "version_2_with_negative": "the data tell which questions have no answer",
    "dataset_format": "the layout is told by the content",
    "dataset": "--train_file and --predict_file say which data",
    "overwrite_cache": "features are never cached",
    "verbose_logging": "data_report.json lists every fault of the data",
    "nbest_calculation": "the scores of a perfect choice among the n best are always reported",
    "dont_output_nbest": "nbest_predictions.json is always written",
}
# What they asked for is done in another way: refused with it, but for values that ask for nothing.
SUCCESSORS = {
    "eval_all_checkpoints": ("false", "--evaluate_every_epoch scores the model as it learns"),
    "disable_segments_embeddings": ("false", "a QASS model (--qass_head=True) has one token type throughout"),
    "lang_id": ("0", "XLM with language ids is not supported: take a multilingual model without them"),
    "fp16_opt_level": ("O1", "--fp16 is O1 (mixed precision), neither flag is O0; --bf16 needs no loss scaling"),
    "server_ip": ("", "python -m debugpy --listen HOST:PORT --wait-for-client finetuning/run_qa.py ..."),
    "server_port": ("", "python -m debugpy --listen HOST:PORT --wait-for-client finetuning/run_qa.py ..."),
    "config_name": ("", "the config.json in --model_name_or_path is the model's: put another one there"),
}
_SWITCHES = {"version_2_with_negative", "overwrite_cache", "verbose_logging", "nbest_calculation", "dont_output_nbest"}
_SWITCHES |= {"eval_all_checkpoints", "disable_segments_embeddings", "do_lower_case"}
_FILES = ("train_file", "predict_file")
_FALSE = {"false", "no", "f", "n", "0"}


def translate(argv: Sequence[str], lower_cases: Callable[[str], bool]) -> list[str]:
    """A command line of ours that does what one with the originals' flags asks for; says what it passes over.

    lower_cases: whether the tokenizer of a folder or hub name lower-cases.

    Raises:
      InputError: a flag asks for something that is done in another way here; the message names it.
    """
    given, rest = _parser().parse_known_args(_renamed(argv))
    values = {name: value for name, value in vars(given).items() if value is not None}
    for name, why in NOT_NEEDED.items():
        if _is_asked(values.get(name, "false")):
            print(f"--{name} is not needed: {why}", file=sys.stderr)
    for name, (nothing, successor) in SUCCESSORS.items():
        value = values.get(name, nothing)
        harmless = {nothing} | (_FALSE if name in _SWITCHES else set())
        if name == "config_name" and os.path.realpath(value) == os.path.realpath(values.get("model_name_or_path", "")):
            continue
        if value not in harmless:
            raise InputError(f"--{name}: found {value}, a flag of the original: {successor}")
    if _is_asked(values.get("do_lower_case", "false")):
        _check_lower_case(values.get("tokenizer_name") or values.get("model_name_or_path", ""), lower_cases)
    if values.get("cache_dir"):
        from huggingface_hub import constants

        constants.HF_HUB_CACHE = values["cache_dir"]
    kept = [f"--{name}={values[name]}" for name in ("model_name_or_path", "tokenizer_name") if name in values]
    kept += [f"--{name}={_in_folder(values.get('data_dir', ''), values[name])}" for name in _FILES if name in values]
    return kept + rest


def _in_folder(folder: str, files: str) -> str:
    """Each of comma-separated patterns behind its folder; a file whose name has a comma is one file."""
    whole = os.path.join(folder, files)
    return whole if os.path.lexists(whole) else ",".join(os.path.join(folder, name) for name in files.split(","))


def _renamed(argv: Sequence[str]) -> list[str]:
    parts = [argument.partition("=") for argument in argv]
    return [RENAMED.get(name, name) + equals + value for name, equals, value in parts]


def _parser() -> argparse.ArgumentParser:
    usage = "%(prog)s [flags] (--help lists them)"
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, usage=usage)
    switches = sorted(_SWITCHES)
    for name in switches:
        parser.add_argument(f"--{name}", nargs="?", const="true", type=str.lower)
    for name in [*NOT_NEEDED, *SUCCESSORS, "data_dir", "cache_dir", "model_name_or_path", "tokenizer_name", *_FILES]:
        if name not in _SWITCHES:
            parser.add_argument(f"--{name}")
    return parser


def _is_asked(value: str) -> bool:
    return value not in _FALSE


def _check_lower_case(tokenizer: str, lower_cases: Callable[[str], bool]) -> None:
    if not lower_cases(tokenizer):
        raise InputError(
            f"--do_lower_case: the tokenizer of {tokenizer} does not lower-case: expected do_lower_case in its "
            "tokenizer_config.json, or no such flag"
        )
