"""The parts of a model card: front matter that the Hub reads, and tables."""

from pathlib import Path
from typing import Any


def front_matter(license: str, *tags: str) -> str:
    listed = "\n".join(f"- {tag}" for tag in tags)
    return (
        f"---\nlanguage: ko\nlicense: {license}\nlibrary_name: transformers\npipeline_tag: question-answering\n"
        f"tags:\n{listed}\n---"
    )


def table(rows: dict[str, Any]) -> str:
    lines = [f"| {key} | {str(value).replace('|', '/')} |" for key, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, keys joined by dots; nothing for None and "", of paths the last part."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value not in (None, ""):
            is_path = isinstance(value, str) and value.startswith("/")
            flat[prefix + key] = Path(value).name if is_path else value
    return flat
