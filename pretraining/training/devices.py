"""What the flags ask of this machine's devices, checked and said before any long work."""

from pathlib import Path

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError
from pretraining.settings import PretrainingSettings
from pretraining.training.estimators import cluster_of_workers

# A step of 4 x 256 at 512 tokens and batch 8, beside the same in float32, on a processor with AVX512_BF16: README.
BFLOAT16_GAIN_ON_CPU = 1.25
# As Linux names what oneDNN multiplies bfloat16 with.
_CPU_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
_CPU_INFO = Path("/proc/cpuinfo")


def check_devices(settings: PretrainingSettings) -> None:
    """Says what bfloat16 would gain, or cannot, where training is left to a CPU.

    Raises:
      InputError: a flag that would have no effect here, or whose cluster nobody names.
    """
    on_cpu = not settings.use_tpu and not tf.config.list_physical_devices("GPU")
    if settings.use_xla and on_cpu:
        raise InputError(
            "--use_xla: found no GPU, expected one (XLA makes a CPU slower; a TPU always compiles with it)"
        )
    if settings.distribution == "multi_worker" and not cluster_of_workers():
        raise InputError(
            "--distribution=multi_worker: found no workers in the environment variable TF_CONFIG, expected "
            '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
        )
    if on_cpu and settings.do_train:
        _say_bfloat16(settings.use_bfloat16)


def _say_bfloat16(asked_for: bool) -> None:
    found = sorted(_cpu_flags() & _CPU_BFLOAT16)
    if found and not asked_for:
        logging.info(
            "This processor multiplies bfloat16 (%s): --use_bfloat16 was measured to make a step %.2f times as fast",
            ", ".join(found),
            BFLOAT16_GAIN_ON_CPU,
        )
    elif asked_for and not found:
        logging.warning("--use_bfloat16: this processor has no bfloat16 arithmetic: everything is computed in float32")


def _cpu_flags() -> set[str]:
    """What Linux says that the first processor can; elsewhere nothing."""
    lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines() if _CPU_INFO.exists() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())
