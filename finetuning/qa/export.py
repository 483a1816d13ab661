"""What a trained folder holds for others: weights and tokenizer that transformers loads, and a model card."""

import json
import re
from pathlib import Path
from typing import Any

from finetuning.cards.markdown import flatten, front_matter, table
from finetuning.cards.usage import Usage, usage_code
from finetuning.modeling import AUTO_MAP, ModelWithQASSHead, write_modeling_file
from finetuning.qa.features import QUESTION_TOKEN
from finetuning.qa.identity import TRAIN_RESULTS
from finetuning.qa.model import QAModel
from finetuning.qa.results import EVAL_RESULTS, write_text
from finetuning.qa.settings import DataSettings
from finetuning.qa.usage import RUN_SETTINGS, THRESHOLD, usage_of

CARD = "README.md"
LICENSE = re.compile(r"^license: *(\S+)$", re.MULTILINE)
SIZES = (
    *("model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("max_position_embeddings", "layer_norm_eps", "qass_layer_norm_eps", "vocab_size"),
)
_OF_THE_MACHINE = ("seconds", "runtime", "per_second", "epochs", "model", "flos")


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Weights, config and tokenizer; with a model of this project, the file that transformers loads it by."""
    if isinstance(model, ModelWithQASSHead):
        model.config.auto_map = AUTO_MAP
    model.save_pretrained(folder)
    if isinstance(model, ModelWithQASSHead):
        write_modeling_file(folder)
    tokenizer.save_pretrained(folder)


def write_card(
    folder: Path,
    qa_model: QAModel,
    hide_sep: bool,
    data: DataSettings,
    base_model: str,
    threshold: float | None,
) -> None:
    """README.md of a trained folder: data, sizes, scores, seeds, versions, and code that answers as run_qa.py does.

    The licence is the base model's, where its card names one, else "other", which publish.py asks about.

    threshold: of "no answer" in the run's predictions; what the folder notes, as run_qa.py and predict.py will read it,
      goes before it.
    """
    run, trained, scores = (_read(folder / name) for name in (RUN_SETTINGS, TRAIN_RESULTS, EVAL_RESULTS))
    config = qa_model.model.config.to_dict()
    threshold = usage_of(str(folder)).get(THRESHOLD, threshold)
    names = {key: _names(getattr(data, key)) for key in ("train_file", "predict_file")}
    training = {key: value for key, value in run.items() if not key.endswith(("_sha256", "_name_or_path", "_name"))}
    sections = {
        "Data": names | {"split_by_article": data.split_by_article, "train_sha256": run.get("train_sha256")},
        "Scores": _without_machine(scores),
        "Training": training | _without_machine(trained),
        "Architecture": {key: config.get(key) for key in SIZES}
        | {"parameters": f"{sum(parameter.numel() for parameter in qa_model.model.parameters()):,}"},
    }
    name, base = folder.resolve().name, Path(base_model)
    text = [
        front_matter(_license(base / CARD), "question-answering", "extractive-qa"),
        f"# {name}\n\n{base.name}, fine-tuned for extractive question answering.",
        _how_to(name, qa_model, hide_sep, data, threshold),
        *(f"## {title}\n\n{table(flatten(rows))}" for title, rows in sections.items() if flatten(rows)),
    ]
    write_text(folder / CARD, "\n\n".join(text) + "\n")


def _how_to(name: str, qa_model: QAModel, hide_sep: bool, data: DataSettings, threshold: float | None) -> str:
    template, tokenizer = qa_model.template, qa_model.tokenizer
    writes_question = tokenizer.get_vocab().get(QUESTION_TOKEN) in tokenizer("1", "1").input_ids
    if writes_question and not template.explicit_positions:
        return "## Use\n\nWith `finetuning/predict.py`: the tokenizer writes a [QUESTION] that this head does not know."
    usage = Usage(
        remote=isinstance(qa_model.model, ModelWithQASSHead),
        qass=template.explicit_positions,
        hide_sep=hide_sep,
        token_types=template.uses_token_types,
        max_seq_length=data.max_seq_length,
        doc_stride=data.doc_stride,
        max_answer_length=data.max_answer_length,
        max_query_length=data.max_query_length,
        null_threshold=threshold,
    )
    return f"## Use\n\n```python\n{usage_code(name, usage)}\n```"


def _names(patterns: str | None) -> str | None:
    return ", ".join(Path(pattern).name for pattern in patterns.split(",")) if patterns else None


def _without_machine(results: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in results.items() if not key.endswith(_OF_THE_MACHINE) and "memory" not in key}


def _license(card: Path) -> str:
    found = LICENSE.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    return found.group(1) if found else "other"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
