"""Answers single questions with a fine-tuned model, in this process."""

import sys
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import logging

from finetuning.qa.decoding import DecodingSettings
from finetuning.qa.evaluation import WindowReader
from finetuning.qa.features import FeatureSettings, build_features
from finetuning.qa.model import load_qa_model
from finetuning.qa.questions import PREPARED_SUFFIX, QAExample
from finetuning.qa.results import choose_answers, nbest_lists
from finetuning.qa.settings import ModelSettings
from finetuning.qa.usage import usage_of
from kosplinter_common.cli import InputError

WINDOWS_PER_BATCH = 16


@dataclass(frozen=True)
class AnswerSettings:
    """null_score_diff_threshold: as run_qa.py's; None: every question is answered."""

    max_seq_length: int = 384
    doc_stride: int = 128
    max_answer_length: int = 30
    n_best: int = 1
    max_query_length: int = 64
    null_score_diff_threshold: float | None = None
    bf16: bool = False


class Answerer:
    """Holds a model; on a GPU where there is one."""

    def __init__(self, model_dir: str, settings: AnswerSettings) -> None:
        """Raises InputError for a folder that holds no fitting model."""
        logging.disable_progress_bar()
        self._settings = settings
        hide_sep = usage_of(model_dir).get("hide_sep", ModelSettings.hide_sep)
        model_settings = ModelSettings(model_name_or_path=model_dir, hide_sep=hide_sep)
        self._qa_model = load_qa_model(model_settings, settings.max_seq_length)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if settings.bf16 else torch.float32
        self._reader = WindowReader(self._qa_model.model.to(device).eval(), device, dtype, WINDOWS_PER_BATCH)

    def answer(self, question: str, context: str) -> list[dict[str, Any]]:
        """The n best answers: text, start, end (characters of `context`, end not included), score, probability.

        The first is what run_qa.py would predict: an empty one where "no answer" is better by more than the threshold.
        A question that is cut is reported to the error stream.
        """
        question = PREPARED_SUFFIX.sub("", question).strip()
        if not question:
            raise InputError("the question is empty")
        settings, qa_model = self._settings, self._qa_model
        example = QAExample("question", question, context, spans=(), golds=(), article="", labelled=False)
        sizes = FeatureSettings(settings.max_seq_length, settings.doc_stride, settings.max_query_length)
        features = build_features([example], qa_model.offset_tokenizer, qa_model.template, sizes, with_labels=False)
        for fault in features.faults:
            if fault.reason == "question_truncated":
                print(f"question cut ({fault.detail}; see --max_query_length): {question}", file=sys.stderr)
        if len(features) == 0:
            return []
        threshold = settings.null_score_diff_threshold
        with_null = threshold is not None
        decoding = DecodingSettings(settings.max_answer_length, settings.n_best, with_null)
        decoded = self._reader.read(features, decoding)
        answers = nbest_lists(decoded, [example], with_null)[example.id]
        silent = not choose_answers(decoded, [example], threshold)[example.id]
        return sorted(answers, key=lambda answer: bool(answer["text"]) == silent)[: settings.n_best]
