"""Loads any extractive question answering model, with its tokenizer and the input template it was made for."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertConfig,
    BertForQuestionAnswering,
)

from finetuning.modeling import ModelWithQASSHead, QASSConfig
from finetuning.qa.features import QUESTION_TOKEN, InputTemplate, OffsetTokenizer, pair_template, question_template
from finetuning.qa.settings import ModelSettings
from finetuning.qa.weights import load_weights
from kosplinter_common.cli import InputError
from kosplinter_common.files import refusing_code

# Config model types whose models answer with a QASS head, and where that head sits.
QASS_HEADS = {"qass": "qass", "splinter": "splinter_qass"}
# What `--model_type=bert`, as the original's commands say, may stand for.
BERT_SHAPED = ("bert", "qass", "splinter")


@dataclass(frozen=True)
class QAModel:
    model: Any
    tokenizer: Any
    offset_tokenizer: OffsetTokenizer
    template: InputTemplate


def load_qa_model(settings: ModelSettings, max_seq_length: int) -> QAModel:
    """Loads model and tokenizer and checks that they and the settings agree.

    Raises:
      InputError: no such folder; vocabulary and config disagree; no [QUESTION] for a QASS head; an unfit encoder.
    """
    config, tokenizer = _load_config_and_tokenizer(settings)
    _check_model_type(settings, config)
    qass_head = config.model_type in QASS_HEADS if settings.qass_head is None else settings.qass_head
    if qass_head:
        template = question_template(tokenizer, settings.hide_sep)
    else:
        template = pair_template(tokenizer, getattr(config, "type_vocab_size", None) or 0)
    _check_sizes(settings, config, tokenizer, max_seq_length, exact=config.model_type in QASS_HEADS)
    with refusing_code(settings.model_name_or_path):
        model = _load_model(settings, config, tokenizer, qass_head)
    if settings.initialize_new_qass and config.model_type in QASS_HEADS and qass_head:
        # a new module: initialisation skips parameters that were loaded
        new_head = type(getattr(model, QASS_HEADS[config.model_type]))(config).apply(model._init_weights)
        setattr(model, QASS_HEADS[config.model_type], new_head)
        print(f"{settings.model_name_or_path}: --initialize_new_qass: the head begins at random", file=sys.stderr)
    return QAModel(model, tokenizer, OffsetTokenizer(tokenizer), template)


def _load_config_and_tokenizer(settings: ModelSettings) -> tuple[Any, Any]:
    path = settings.model_name_or_path
    if not path:
        raise InputError("--model_name_or_path: found nothing, expected the folder of a model")
    for name in filter(None, (path, settings.tokenizer_name)):
        looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
        if looks_local and not Path(name).is_dir():
            raise InputError(f"{name}: no such model folder")
    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise InputError(f"{path}: found no config.json, expected the folder of a model")
    try:
        config = AutoConfig.from_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(settings.tokenizer_name or path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot load config and tokenizer: {_first_line(error)}") from error
    return config, tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_model_type(settings: ModelSettings, config: Any) -> None:
    wanted, found = (settings.model_type or "").lower(), config.model_type
    if wanted and wanted != found and not (wanted == "bert" and found in BERT_SHAPED):
        raise InputError(f"{settings.model_name_or_path}: found model type {found!r}, expected {wanted!r}")
    if settings.qass_head and found not in BERT_SHAPED:
        raise InputError(f"{settings.model_name_or_path}: found {found!r}, expected a BERT encoder under a QASS head")
    if settings.qass_head is False and found == "splinter":
        raise InputError(f"{settings.model_name_or_path}: a stock Splinter has no other head, drop --qass_head=False")


def _check_sizes(settings: ModelSettings, config: Any, tokenizer: Any, max_seq_length: int, exact: bool) -> None:
    path, pieces = settings.model_name_or_path, len(tokenizer)
    if pieces > config.vocab_size or (exact and pieces != config.vocab_size):
        raise InputError(f"{path}: the vocabulary has {pieces} tokens, config.json says vocab_size {config.vocab_size}")
    question_id = tokenizer.get_vocab().get(QUESTION_TOKEN)
    if exact and question_id != config.question_token_id and settings.qass_head is not False:
        raise InputError(
            f"{path}: {QUESTION_TOKEN} is {question_id} in the vocabulary, "
            f"config.json says question_token_id {config.question_token_id}"
        )
    limit = getattr(config, "max_position_embeddings", None) or max_seq_length
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):
        limit -= config.pad_token_id + 1  # their positions begin behind the padding id
    if max_seq_length > limit:
        raise InputError(f"--max_seq_length: found {max_seq_length}, {path} has positions for {limit}")


def _load_model(settings: ModelSettings, config: Any, tokenizer: Any, qass_head: bool) -> Any:
    path = settings.model_name_or_path
    model_class: Any = AutoModelForQuestionAnswering
    if qass_head and config.model_type == "bert":
        model_class = ModelWithQASSHead
        values = {key: value for key, value in config.to_dict().items() if key not in ("model_type", "architectures")}
        config = QASSConfig(**values | {"question_token_id": tokenizer.get_vocab()[QUESTION_TOKEN]})
    elif not qass_head and config.model_type == "qass":
        model_class = BertForQuestionAnswering
        own = ("model_type", "architectures", "question_token_id", "qass_layer_norm_eps", "auto_map")
        config = BertConfig(**{key: value for key, value in config.to_dict().items() if key not in own})
    another_head = settings.qass_head is False or settings.initialize_new_qass
    return load_weights(model_class, path, config, drop_qass_head=another_head)
