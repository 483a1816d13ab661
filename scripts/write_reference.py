"""Writes docs/REFERENCE.md from the docstrings of the package kosplinter.

python scripts/write_reference.py
"""

import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from kosplinter import Answer, InputError, QuestionAnswerer
from kosplinter.__main__ import COMMANDS

REFERENCE = ROOT / "docs" / "REFERENCE.md"


def reference() -> str:
    parts = ["# Reference", "Written by `scripts/write_reference.py` from the docstrings; do not edit.", "## Library"]
    parts += _described("QuestionAnswerer", QuestionAnswerer, "")
    for name, member in vars(QuestionAnswerer).items():
        if not name.startswith("_"):
            parts += _described(name, member, "QuestionAnswerer.")
    parts += _described("Answer", Answer, "") + _described("InputError", InputError, "")
    parts.append("## Command\n\n`kosplinter COMMAND --help` lists the flags.")
    for name, command in COMMANDS.items():
        parts += [f"### kosplinter {name}", _as_markdown(inspect.getdoc(command) or "")]
    return "\n\n".join(parts) + "\n"


def _described(name: str, member: object, owner: str) -> list[str]:
    function = getattr(member, "__func__", member)
    if isinstance(function, property):
        title = f"{owner}{name}"
    else:
        shown = inspect.signature(function) if inspect.isfunction(function) or member is Answer else ""
        signature = re.sub(r"\b(kosplinter|pathlib|collections\.abc)\.(\w+\.)*", "", str(shown))
        signature = re.sub(r"\((self|cls)(, )?", "(", signature)
        title = f"{owner}{name}{signature}"
    return [f"### `{title}`", _as_markdown(inspect.getdoc(function) or "")]


def _as_markdown(text: str) -> str:
    """Sections as lists, indented examples as code."""
    lines, code = [], False
    for line in text.split("\n"):
        heading = re.fullmatch(r"(Args|Returns|Raises):", line)
        indented = line.startswith("    ") and not code and (not lines or not lines[-1])
        if indented:
            lines.append("```bash")
            code = True
        if code and line and not line.startswith("    "):
            lines.insert(len(lines) - 1 if lines and not lines[-1] else len(lines), "```")
            code = False
        if code:
            lines.append(line[4:])
        elif heading:
            lines += [f"**{heading[1]}**", ""]
        else:
            item = re.match(r"  (\w[\w ,]*): ", line)
            lines.append(f"* `{item[1]}`: {line[item.end() :]}" if item else line)
    return "\n".join([*lines, "```"] if code else lines)


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
