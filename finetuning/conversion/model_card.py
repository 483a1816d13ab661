"""README.md of a converted model: what it is, where it comes from, how exact it is, how to use it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetuning.cards.markdown import flatten, front_matter, table
from finetuning.cards.usage import Usage, usage_code
from finetuning.conversion.dialects import Source
from finetuning.conversion.torch_writing import Format, stock_obstacles
from finetuning.conversion.verification import Report
from finetuning.conversion.vocabulary import PAD, QUESTION, Vocabulary

RUN_FILE = "run.json"
EVALUATION_FILE = "eval_results.json"
DATASET_FILE = "dataset.json"


@dataclass(frozen=True)
class Provenance:
    """What files beside the checkpoint say about it; empty where there are none.

    flags: of the pretraining run, by name.
    """

    flags: dict[str, Any]
    evaluation: dict[str, Any]
    dataset: dict[str, Any]


def find_provenance(folder: Path) -> Provenance:
    """Reads run.json, eval_results.json and dataset.json beside a checkpoint.

    run.json may lie one folder up (the best checkpoint has a folder of its own), dataset.json beside the records that
    the run was given. What is missing or broken is left out: a model can be converted without its history.
    """
    run = _read_object(folder / RUN_FILE) or _read_object(folder.resolve().parent / RUN_FILE)
    flags = run.get("flags", run) if isinstance(run.get("flags", run), dict) else {}
    dataset = _read_object(folder / DATASET_FILE)
    if not dataset and isinstance(flags.get("input_file"), str):
        dataset = _read_object(Path(flags["input_file"].split(",")[0]).parent / DATASET_FILE)
    return Provenance(flags, _read_object(folder / EVALUATION_FILE), dataset)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def model_card(
    source: Source,
    format: Format,
    vocabulary: Vocabulary,
    name: str,
    license: str,
    provenance: Provenance,
    reports: tuple[Report, Report | None] | None,
    notes: list[str],
) -> str:
    """The text of README.md."""
    longest = min(Usage.max_seq_length, source.config.max_position_embeddings)
    usage = Usage(remote=format is not Format.SPLINTER, max_seq_length=longest)
    sections = [
        front_matter(license, "splinter", "question-answering", "few-shot"),
        f"# {name}\n\nA BERT encoder with question-aware span selection (QASS), pretrained by recurring span selection "
        "(Splinter, [arXiv 2101.00438](https://arxiv.org/abs/2101.00438)): a `[QUESTION]` token points to the start "
        "and the end of its answer.",
        f"## Use\n\n```python\n{usage_code(name, usage)}\n```",
        _architecture(source, vocabulary, notes),
        _exactness(source, format, reports),
    ]
    titled = (
        ("Evaluation", provenance.evaluation),
        ("Training", provenance.flags),
        ("Training data", {key: provenance.dataset.get(key) for key in ("flags", "counts", "vocab")}),
    )
    sections += [f"## {title}\n\n{table(flat)}" for title, values in titled if (flat := flatten(values))]
    return "\n\n".join(sections) + "\n"


def _architecture(source: Source, vocabulary: Vocabulary, notes: list[str]) -> str:
    config = source.config
    rows = {
        "converted from": source.dialect.value,
        "checkpoint": Path(source.reader.path).name,
        "layers": config.num_hidden_layers,
        "hidden size": config.hidden_size,
        "heads": config.num_attention_heads,
        "feed-forward size": config.intermediate_size,
        "positions": config.max_position_embeddings,
        "activation": config.hidden_act,
        "layer-norm epsilon of the encoder": f"{config.layer_norm_eps:g}",
        "layer-norm epsilon of QASS": f"{config.qass_layer_norm_eps:g}",
        "epsilons": source.epsilon_origin,
        "vocabulary": f"{Path(vocabulary.path).name}, {len(vocabulary):,} WordPieces",
        "[QUESTION] and [PAD]": f"{vocabulary.id_of(QUESTION)} and {vocabulary.id_of(PAD)}",
        "parameters": f"{sum(_size(shape) for shape in source.shapes.values()):,}",
    }
    return "\n\n".join(["## Architecture", table(rows), *notes])


def _exactness(source: Source, format: Format, reports: tuple[Report, Report | None] | None) -> str:
    text = ["## Exactness"]
    obstacles = stock_obstacles(source) if format is Format.SPLINTER else []
    if obstacles:
        text.append(
            "**This folder is not exactly the pretrained model.** transformers' Splinter cannot express it: "
            + "; ".join(obstacles)
            + ". The formats `qass` and `splinter-remote` are exact."
        )
    if reports is None:
        return "\n\n".join([*text, "The conversion was not verified."])
    text.append(f"Verification shows that each tensor is in its place; the epsilons are {source.epsilon_origin}.")
    exact, stock = reports
    text.append("Weights, in this project's model, against the TensorFlow graph:\n\n" + _bullets(exact.lines()))
    if stock is not None:
        text.append("transformers' Splinter, against the TensorFlow graph:\n\n" + _bullets(stock.lines()))
    return "\n\n".join(text)


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
