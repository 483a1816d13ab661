"""The house's plan: imports run one way, and each framework stays in its rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STATIONS = ("common", "data_gen", "pretraining", "finetuning", "vocab")
RECORD_SCHEMA = {"data_gen.records", "data_gen.dataset_info"}


def modules_of(station: str) -> list[Path]:
    return sorted((ROOT / station).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything a file imports, at whatever depth; `from a.b import c` counts as a.b and a.b.c,
    `from a import b` as a.b where a is one of our stations.
    """
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
            if node.module and node.module not in STATIONS:
                names.add(node.module)
    return names


def imports_any(names: set[str], packages: tuple[str, ...]) -> set[str]:
    return {name for name in names if name.split(".")[0] in packages}


def is_converter(path: Path) -> bool:
    return path.name.startswith("convert_") or "conversion" in path.parts


@pytest.mark.parametrize("path", modules_of("common"), ids=lambda path: path.name)
def test_common_imports_nothing_of_ours(path: Path) -> None:
    assert not imports_any(imports_of(path), tuple(station for station in STATIONS if station != "common"))


@pytest.mark.parametrize("path", modules_of("data_gen"), ids=lambda path: path.name)
def test_data_gen_knows_no_later_station_and_no_framework(path: Path) -> None:
    assert not imports_any(imports_of(path), ("pretraining", "finetuning", "vocab", "tensorflow", "torch"))


def below(name: str, modules: set[str]) -> bool:
    """Whether a dotted name is one of the modules or something in it."""
    return any(name == module or name.startswith(module + ".") for module in modules)


@pytest.mark.parametrize("path", modules_of("pretraining"), ids=lambda path: path.name)
def test_pretraining_knows_only_the_record_schema(path: Path) -> None:
    for name in imports_any(imports_of(path), ("data_gen", "vocab", "finetuning")):
        assert below(name, RECORD_SCHEMA | {"finetuning.modeling"}), name


@pytest.mark.parametrize("path", modules_of("finetuning"), ids=lambda path: path.name)
def test_finetuning_keeps_to_its_rooms(path: Path) -> None:
    names = imports_of(path)
    if path.name == "modeling.py":
        assert not imports_any(names, STATIONS)
    if not is_converter(path):
        assert not imports_any(names, ("tensorflow", "pretraining"))
    for name in imports_any(names, ("pretraining", "data_gen", "vocab")):
        assert below(name, RECORD_SCHEMA | {"pretraining.modeling"}), name


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("data_gen.create_pretraining_data", ("tensorflow", "torch")),
        ("finetuning.run_qa", ("tensorflow",)),
        ("finetuning.evaluate", ("tensorflow", "torch")),
        ("finetuning.modeling", ("tensorflow", "data_gen", "common")),
        ("pretraining.run_pretraining", ("googleapiclient", "cloud_tpu_client")),
    ],
)
def test_importing_a_module_leaves_frameworks_alone(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; sys.exit(str([m for m in {absent!r} if m in sys.modules] or '') or 0)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


def entry_points() -> list[Path]:
    return [p for s in STATIONS for p in modules_of(s) if 'if __name__ == "__main__":' in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", entry_points(), ids=lambda path: path.name)
def test_entry_points_run_as_files_and_as_modules(path: Path, tmp_path: Path) -> None:
    """--help works in both forms, as a file from another folder too."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for command, folder in (([str(path)], tmp_path), (["-m", module], ROOT)):
        result = subprocess.run([sys.executable, *command, "--help"], cwd=folder, capture_output=True, text=True)
        # absl ends --help with status 1, argparse with 0
        assert result.returncode in (0, 1) and "--" in result.stdout and "Traceback" not in result.stderr, result.stderr
