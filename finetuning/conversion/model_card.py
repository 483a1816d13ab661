"""README.md of a converted model: what it is, where it comes from, how exact it is, how to use it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetuning.conversion.dialects import Source
from finetuning.conversion.torch_writing import Format, stock_obstacles
from finetuning.conversion.verification import Report
from finetuning.conversion.vocabulary import PAD, QUESTION, Vocabulary

RUN_FILE = "run.json"
EVALUATION_FILE = "eval_results.json"
DATASET_FILE = "dataset.json"

_USAGE = {
    Format.QASS: """from transformers import AutoTokenizer
from finetuning.modeling import ModelWithQASSHead  # of the KoSplinter repository

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = ModelWithQASSHead.from_pretrained("{folder}")""",
    Format.SPLINTER: """from transformers import AutoTokenizer, SplinterForQuestionAnswering

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = SplinterForQuestionAnswering.from_pretrained("{folder}")""",
    Format.REMOTE: """from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForQuestionAnswering.from_pretrained("{folder}", trust_remote_code=True)""",
}
_ASKING = """
inputs = tokenizer(question, context, return_tensors="pt")  # [CLS] question [QUESTION] . [SEP] context [SEP]
outputs = model(**inputs)
start, end = outputs.start_logits.argmax(), outputs.end_logits.argmax()
answer = tokenizer.decode(inputs.input_ids[0, start : end + 1])"""


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
    flags = run.get("flags", run)
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
    sections = [
        _front_matter(license),
        f"# {name}\n\nA BERT encoder with question-aware span selection (QASS), pretrained by recurring span selection "
        "(Splinter, [arXiv 2101.00438](https://arxiv.org/abs/2101.00438)): a `[QUESTION]` token points to the start "
        "and the end of its answer.",
        "## Use\n\n```python\n" + _USAGE[format].format(folder=name) + "\n" + _ASKING + "\n```",
        _architecture(source, vocabulary, notes),
        _exactness(source, format, reports),
    ]
    titled = (
        ("Evaluation", provenance.evaluation),
        ("Training", provenance.flags),
        ("Training data", {key: provenance.dataset.get(key) for key in ("flags", "counts", "vocab")}),
    )
    sections += [f"## {title}\n\n{_table(flat)}" for title, values in titled if (flat := _flatten(values))]
    return "\n\n".join(sections) + "\n"


def _front_matter(license: str) -> str:
    tags = "\n".join(f"- {tag}" for tag in ("splinter", "question-answering", "few-shot"))
    return (
        f"---\nlanguage: ko\nlicense: {license}\nlibrary_name: transformers\npipeline_tag: question-answering\n"
        f"tags:\n{tags}\n---"
    )


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
    return "\n\n".join(["## Architecture", _table(rows), *notes])


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


def _table(rows: dict[str, Any]) -> str:
    lines = [f"| {key} | {str(value).replace('|', '/')} |" for key, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, keys joined by dots; nothing for None and "", of paths the last part."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif value not in (None, ""):
            is_path = isinstance(value, str) and value.startswith("/")
            flat[prefix + key] = Path(value).name if is_path else value
    return flat


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
