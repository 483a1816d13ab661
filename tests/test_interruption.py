"""Ctrl-C at any moment: one line and status 130."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_layout import ROOT, entry_points

SLOW_TO_IMPORT = ("torch", "transformers", "tensorflow", "numba", "numpy", "tokenizers", "apache_beam", "absl")
INTERRUPTED_IMPORT = """
import runpy, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name in {slow!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
sys.argv = [{script!r}, "--help"]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.mark.parametrize("script", entry_points(), ids=lambda path: path.name)
def test_while_modules_are_imported(script: Path) -> None:
    """Interrupted at the first slow import, which some commands have behind --help only."""
    slow = SLOW_TO_IMPORT if script.parent.name != "pretraining" else SLOW_TO_IMPORT[:-1]  # absl alone takes 0.05 s
    code = INTERRUPTED_IMPORT.format(slow=slow, script=str(script))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    assert (done.returncode, done.stderr) == (130, "interrupted\n") or "--help" in done.stdout


@pytest.mark.parametrize("script", entry_points(), ids=lambda path: path.name)
def test_what_ends_a_command_in_one_line_is_imported_before_all_else_of_ours(script: Path) -> None:
    """Our own modules take time, too, before they come to the slow ones."""
    body = ast.parse(script.read_text(encoding="utf-8")).body
    modules = [node.module for node in body if isinstance(node, ast.ImportFrom) and node.module]
    ours = [name for name in modules if (ROOT / name.split(".")[0]).is_dir()]
    assert ours[0] == "kosplinter_common.cli"


def test_while_workers_make_records(tmp_path: Path) -> None:
    """A terminal's Ctrl-C reaches every process of the group."""
    (tmp_path / "a.txt").write_text("\n\n".join(f"서울 {i} 서울 {i} 한강." for i in range(30_000)), encoding="utf-8")
    (tmp_path / "vocab").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[QUESTION]\n서울\n한강\n1\n##1\n.\n")
    command = [sys.executable, "data_gen/create_pretraining_data.py", f"--input_file={tmp_path}/a.txt"]
    command += [f"--output_dir={tmp_path}/out", f"--vocab_file={tmp_path}/vocab", "--num_processes=2", "--unit_kb=64"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not list((tmp_path / "out/work").glob("*.records")) and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said.splitlines() and "Traceback" not in said, said
