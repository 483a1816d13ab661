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
    """Dotted names of everything a file imports, at whatever depth; `from a import b` counts as a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
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


@pytest.mark.parametrize("path", modules_of("pretraining"), ids=lambda path: path.name)
def test_pretraining_knows_only_the_record_schema(path: Path) -> None:
    names = imports_of(path)
    ours = imports_any(names, ("data_gen", "vocab", "finetuning"))
    allowed = RECORD_SCHEMA | {"data_gen", "finetuning.modeling", "finetuning"}
    assert all(any(name == a or name.startswith(a + ".") for a in allowed - {"data_gen", "finetuning"}) for name in ours)


@pytest.mark.parametrize("path", modules_of("finetuning"), ids=lambda path: path.name)
def test_finetuning_keeps_to_its_rooms(path: Path) -> None:
    names = imports_of(path)
    if path.name == "modeling.py":
        assert not imports_any(names, STATIONS)
    if not is_converter(path):
        assert not imports_any(names, ("tensorflow", "pretraining"))
    for name in imports_any(names, ("pretraining",)):
        assert name == "pretraining" or name.startswith("pretraining.modeling"), name
    for name in imports_any(names, ("data_gen",)):
        assert any(name.startswith(schema) for schema in RECORD_SCHEMA), name


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
    code = f"import sys, {module}; found = [m for m in {absent!r} if m in sys.modules]; sys.exit(str(found) if found else 0)"
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
