"""Answers single questions with a fine-tuned model, in this process."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers.utils import logging

from finetuning.qa.decoding import WindowSpans, best_spans, decode_documents
from finetuning.qa.features import FeatureSettings, WindowCollator, build_features
from finetuning.qa.model import load_qa_model
from finetuning.qa.questions import QAExample
from finetuning.qa.settings import ModelSettings
from finetuning.qa.usage import usage_of
from kosplinter_common.cli import InputError

WINDOWS_PER_BATCH = 16


@dataclass(frozen=True)
class AnswerSettings:
    max_seq_length: int = 384
    doc_stride: int = 128
    max_answer_length: int = 30
    n_best: int = 1


class Answerer:
    """Holds a model; on a GPU where there is one."""

    def __init__(self, model_dir: str, settings: AnswerSettings) -> None:
        """Raises InputError for a folder that holds no fitting model."""
        logging.disable_progress_bar()
        self._settings = settings
        hide_sep = usage_of(model_dir).get("hide_sep", ModelSettings.hide_sep)
        model_settings = ModelSettings(model_name_or_path=model_dir, hide_sep=hide_sep)
        self._qa_model = load_qa_model(model_settings, settings.max_seq_length)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._qa_model.model.to(self._device).eval()

    def answer(self, question: str, context: str) -> list[dict[str, Any]]:
        """The n best answers: text, start, end (characters of `context`, end not included), score, probability."""
        if not question.strip():
            raise InputError("the question is empty")
        settings, qa_model = self._settings, self._qa_model
        example = QAExample("question", question, context, spans=(), golds=(), article="")
        sizes = FeatureSettings(settings.max_seq_length, settings.doc_stride)
        features = build_features([example], qa_model.offset_tokenizer, qa_model.template, sizes, with_labels=False)
        if len(features) == 0:
            return []
        collate = WindowCollator(qa_model.template, with_labels=False)
        batches = []
        for first in range(0, len(features), WINDOWS_PER_BATCH):
            windows = [features[i] for i in range(first, min(first + WINDOWS_PER_BATCH, len(features)))]
            batch = {name: tensor.to(self._device) for name, tensor in collate(windows).items()}
            context_mask = batch.pop("context_mask")
            with torch.inference_mode():
                output = qa_model.model(**batch)
            logits = output.start_logits, output.end_logits
            batches.append(
                best_spans(
                    *logits, context_mask, settings.max_answer_length, settings.n_best, qa_model.template.cls_index
                )
            )
        spans = WindowSpans(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
        decoded = decode_documents(features, spans, settings.n_best, with_null=False)
        return [asdict(answer) for answer in decoded[example.id].answers]
