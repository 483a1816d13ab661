"""pyproject.toml: the base is small, and it and the extras ask for what requirements.txt installs."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def name_of(requirement: str) -> str:
    return re.split(r"[\s\[=<>!~;#]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_the_base_has_torch_and_transformers_and_neither_tensorflow_nor_numba() -> None:
    base = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    assert {"torch", "transformers", "tokenizers", "safetensors", "numpy"} <= base
    assert not base & {"tensorflow", "numba", "onnx", "onnxruntime", "uvicorn", "starlette"}
    assert PROJECT["requires-python"] == ">=3.11"


def test_base_and_extras_name_all_that_the_whole_chain_needs() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = {name_of(line) for line in lines if line.strip() and not line.startswith(("#", "-"))}
    extras = PROJECT["optional-dependencies"]
    named = {name_of(r) for r in [*PROJECT["dependencies"], *extras["data"], *extras["pretraining"]]}
    assert needed <= named
    assert extras.keys() == {"data", "pretraining", "serve", "onnx", "dev"}


def test_pinned_onnx_packages_fit_the_extra() -> None:
    lines = (ROOT / "requirements-onnx.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    for requirement in PROJECT["optional-dependencies"]["onnx"]:
        name, least = requirement.split(">=")
        assert tuple(map(int, pins[name].split("."))) >= tuple(map(int, least.split(".")))
