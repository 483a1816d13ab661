"""The pages by need: their commands are understood, the reference is that of the docstrings, links lead somewhere."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from finetuning.qa.questions import load_questions
from kosplinter.__main__ import make_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "README.ko.md", "docs/TUTORIAL.md", "docs/HOWTO.md"]
COMMANDS = [
    line
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("kosplinter ")
]


def test_the_reference_is_written_from_the_docstrings() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "write_reference.py"))["reference"]()
    assert (ROOT / "docs" / "REFERENCE.md").read_text(encoding="utf-8") == written, "run scripts/write_reference.py"


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_that_is_shown_is_understood(line: str) -> None:
    words = shlex.split(re.split(r" [<>] ", line)[0])
    flags = make_parser().parse_args(words[1:])
    assert flags.command == words[1] and len(COMMANDS) > 8


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_tutorials_question_can_be_learned(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "TUTORIAL.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"```json\n(.*?)\n```", text)
    (tmp_path / "train.jsonl").write_text(line, encoding="utf-8")
    data = load_questions(str(tmp_path / "train.jsonl"))
    start, answer = data.examples[0].spans[0]
    assert data.examples[0].context[start : start + len(answer)] == answer == json.loads(line)["answer_text"]
