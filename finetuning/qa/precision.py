"""In what precision matrix products are computed, and where bfloat16 pays. Weights are always float32."""

import sys

import torch
from transformers import TrainingArguments
from transformers.hf_argparser import string_to_bool

AUTO = "auto"
PROCESSORS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512_BF16"}  # torch's names, and the usual ones
# 6 layers × 384 beside the usual recipe: 2.64 and 1.70 times as fast on AVX512_BF16, 1.44 and 1.52 in float32 on AVX2.
GAIN_OF_PROCESSORS = "evaluation about 1.8 and training at least 1.1 times as fast, measured with 6 layers × 384"
GAIN_OF_GPUS = "usually 2 times as fast and more, not measured here"


def fast_bfloat16(use_cpu: bool = False) -> str | None:
    """What multiplies in bfloat16 here: the name of the GPU if there is one, AMX, AVX512_BF16; None if nothing does."""
    if not use_cpu and torch.cuda.is_available():
        return torch.cuda.get_device_name() if torch.cuda.is_bf16_supported(including_emulation=False) else None
    abilities = torch.cpu.get_capabilities()
    return next((name for ability, name in PROCESSORS.items() if abilities.get(ability)), None)


def bool_or_auto(word: str) -> bool | str:
    """The value of --bf16: True, False or "auto". Raises ArgumentTypeError for another word."""
    return AUTO if word.lower() == AUTO else string_to_bool(word)


def chosen_bf16(asked: bool | str | None, use_cpu: bool = False) -> bool:
    """What --bf16 means here: True, False, "auto", or None where it was not asked for.

    Where bfloat16 pays and was not asked for, a line on the error stream says so; it is never chosen unasked, for
    figures would then depend on the machine. "auto" says what it chose.
    """
    if isinstance(asked, bool):
        return asked
    found = fast_bfloat16(use_cpu)
    if asked == AUTO:
        print(f"--bf16 auto: {found or 'no fast bfloat16 here'}, so {bool(found)}", file=sys.stderr)
        return bool(found)
    if found:
        gain = GAIN_OF_PROCESSORS if found in PROCESSORS.values() else GAIN_OF_GPUS
        print(f"this machine has {found}: --bf16 would be faster ({gain}); computing in float32", file=sys.stderr)
    return False


def training_dtype(arguments: TrainingArguments) -> torch.dtype:
    return torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else torch.float32


def evaluation_dtype(arguments: TrainingArguments) -> torch.dtype:
    if arguments.bf16 or arguments.bf16_full_eval:
        return torch.bfloat16
    return torch.float16 if arguments.fp16 or arguments.fp16_full_eval else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """float32, bfloat16 or float16, as result files say it."""
    return str(dtype).removeprefix("torch.")
