"""Compiled code where numba can write neither beside the source nor into the home."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USE = """
import os, sys
from kosplinter_common.records.examples import ExampleEncoder, RecordSpec
from data_gen.spans import hashing
ExampleEncoder(RecordSpec(2, 0, 0)).encode({"input_ids": [1, 2], "input_mask": [1, 1]})
print(os.environ.get("NUMBA_CACHE_DIR"))
"""


def unwritable_copy(folder: Path) -> Path:
    """The packages, with a file in the place of each __pycache__: that stops root, too."""
    for name in ("kosplinter_common", "data_gen"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for package in (folder / name).rglob("__init__.py"):
            (package.parent / "__pycache__").touch()
    return folder


def use(folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    unset = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"HOME": str(home)}
    return subprocess.run([sys.executable, "-c", USE], cwd=folder, env=environment, capture_output=True, text=True)


def test_without_any_place_code_is_kept_for_the_run_and_it_is_said(tmp_path: Path) -> None:
    used = use(unwritable_copy(tmp_path), Path("/dev/null"))
    assert used.returncode == 0 and used.stderr.count("NUMBA_CACHE_DIR=FOLDER") == 1, used.stderr
    place = Path(used.stdout.strip())
    assert place.name.startswith("kosplinter-numba-") and not place.exists()


def test_a_writable_home_is_enough(tmp_path: Path) -> None:
    used = use(unwritable_copy(tmp_path), tmp_path / "home")
    assert used.returncode == 0 and used.stdout == "None\n" and not used.stderr, used.stderr


def test_numba_comes_from_there_only() -> None:
    for path in [*ROOT.glob("kosplinter_common/**/*.py"), *ROOT.glob("data_gen/**/*.py")]:
        if path.name == "compilation.py":
            continue
        imports = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Import)
        ]
        assert "numba" not in {alias.name.split(".")[0] for node in imports for alias in node.names}, path
