"""bfloat16 is advised where it pays, chosen where that is asked for, and said in every result."""

import pytest
import torch

from finetuning.flags import SETTINGS, make_parser, parse_settings
from finetuning.qa import precision


def machine(monkeypatch: pytest.MonkeyPatch, gpu: str | None = None, **abilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    monkeypatch.setattr(precision.torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(precision.torch.cuda, "get_device_name", lambda: gpu)
    monkeypatch.setattr(
        precision.torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation and gpu != "T4"
    )


@pytest.mark.parametrize(
    ("abilities", "found"),
    [
        ({"avx2": True, "avx512_f": True}, None),
        ({"avx512_bf16": True}, "AVX512_BF16"),
        ({"avx512_bf16": True, "amx_bf16": True}, "AMX"),
        ({"gpu": "A100"}, "A100"),
        ({"gpu": "T4", "avx512_bf16": True}, None),
    ],
)
def test_what_is_fast_at_bfloat16(monkeypatch: pytest.MonkeyPatch, abilities: dict, found: str | None) -> None:
    machine(monkeypatch, **abilities)
    assert precision.fast_bfloat16() == found
    if "gpu" in abilities and abilities.get("avx512_bf16"):
        assert precision.fast_bfloat16(use_cpu=True) == "AVX512_BF16"


@pytest.mark.parametrize(
    ("flags", "fast", "slow", "said"),
    [
        ("", False, False, "has AVX512_BF16: --bf16 would be faster (evaluation about 1.8"),
        ("--bf16", True, True, ""),
        ("--bf16=False", False, False, ""),
        ("--bf16 auto", True, False, "--bf16 auto: AVX512_BF16, so True"),
        ("--bf16=auto", True, False, "--bf16 auto: AVX512_BF16, so True"),
        ("--bf16 False --do_eval", False, False, ""),
    ],
)
def test_the_flag(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: str,
    fast: bool,
    slow: bool,
    said: str,
) -> None:
    for abilities, expected in (({"avx512_bf16": True}, fast), ({}, slow)):
        machine(monkeypatch, **abilities)
        *_, arguments = parse_settings(make_parser("run_qa.py", "", *SETTINGS), ["--output_dir=x", *flags.split()])
        assert arguments.bf16 is expected
        line = capsys.readouterr().err
        if abilities:
            assert said in line and (line.count("\n") == 1 if said else not line)
        else:
            assert not line or "no fast bfloat16 here, so False" in line


def test_only_one_process_says_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    machine(monkeypatch, avx512_bf16=True)
    monkeypatch.setenv("RANK", "1")
    parse_settings(make_parser("run_qa.py", "", *SETTINGS), ["--output_dir=x"])
    assert not capsys.readouterr().err


def test_another_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(make_parser("run_qa.py", "", *SETTINGS), ["--bf16=perhaps"])
    assert "argument --bf16" in capsys.readouterr().err
