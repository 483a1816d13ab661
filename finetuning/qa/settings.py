"""The settings of question answering runs: what run_qa.py and run_few_shot.py take beside the Trainer's own flags."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetuning.qa.metrics import METRICS, parse_metric_names
from kosplinter_common.cli import InputError

FULL = "full"  # the size of a study that learns from every question


def _flag(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class ModelSettings:
    """Which model, and how it is told the question."""

    model_name_or_path: str = _flag("", "Folder (or hub name) of the model.")
    model_type: str | None = _flag(None, "Checked against the model's config: bert, splinter, electra, …")
    tokenizer_name: str | None = _flag(None, "Folder of the tokenizer, if it is not the model's.")
    qass_head: bool | None = _flag(
        None,
        "Answer with a QASS head: kept where the model has one, new on a plain BERT. False: a plain linear head. "
        "Unset: whatever the model has.",
    )
    initialize_new_qass: bool = _flag(False, "Throw a pretrained QASS head away and begin a new one.")
    hide_sep: bool = _flag(True, "Hide [SEP] from attention (QASS models only), as the original does.")


@dataclass(frozen=True)
class DataSettings:
    """Data files, windows, decoding and reports."""

    train_file: str | None = _flag(None, "Questions to learn from: comma-separated globs, any known layout.")
    predict_file: str | None = _flag(None, "Questions to answer and score.")
    max_seq_length: int = _flag(384, "Longest input, in wordpieces.")
    doc_stride: int = _flag(128, "How many wordpieces a window moves on along a long context.")
    max_query_length: int = _flag(64, "Longer questions are cut, and counted.")
    max_answer_length: int = _flag(30, "Longest answer, in wordpieces.")
    n_best_size: int = _flag(20, "Answers per question in nbest_predictions.json.")
    null_score_diff_threshold: float | None = _flag(
        None,
        "Answer nothing where 'no answer' scores higher than the best answer by more than this. Unset: what the model "
        "notes, else 0; a model that learns from questions without answer then notes the best one of its evaluation.",
    )
    output_format: str = _flag("korquad,squad", f"Scores to report: some of {','.join(METRICS)}.")
    max_train_samples: int | None = _flag(None, "Learn from the first N questions only.")
    max_eval_samples: int | None = _flag(None, "Answer the first N questions only.")
    split_by_article: float | None = _flag(
        None, "Split train_file: this share of its articles to learn from, the rest to answer (no predict_file)."
    )
    split_seed: int = _flag(0, "Seed of --split_by_article.")

    def __post_init__(self) -> None:
        for name in ("max_seq_length", "doc_stride", "max_query_length", "max_answer_length", "n_best_size"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name}: found {getattr(self, name)}, expected at least 1")
        for name in ("max_train_samples", "max_eval_samples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"--{name}: found {getattr(self, name)}, expected at least 1")
        if self.split_by_article is not None and not 0 < self.split_by_article < 1:
            raise InputError(f"--split_by_article: found {self.split_by_article}, expected a share between 0 and 1")
        if self.split_by_article is not None and self.predict_file:
            raise InputError("--split_by_article: found --predict_file too, expected one of the two")
        parse_metric_names(self.output_format)

    @property
    def null_threshold(self) -> float:
        return self.null_score_diff_threshold or 0.0

    @property
    def metric_names(self) -> tuple[str, ...]:
        return parse_metric_names(self.output_format)


@dataclass(frozen=True)
class ScheduleSettings:
    """How long to train, beside the Trainer's own flags."""

    warmup_ratio: float = _flag(0.1, "Share of the steps in which the learning rate rises.")
    min_steps: int = _flag(200, "Train at least so many steps, however few examples there are.")
    evaluate_every_epoch: bool = _flag(False, "Answer and score predict_file after every epoch.")
    early_stopping_patience: int = _flag(
        0, "Stop after so many epochs without a better F1, keeping the best model. 0: off."
    )
    threads: int = _flag(0, "Threads that tokenise; 0: as many as there are cores.")
    overwrite_output_dir: bool = _flag(False, "Remove what another run left in output_dir.")

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_ratio <= 1:
            raise InputError(f"--warmup_ratio: found {self.warmup_ratio}, expected a share between 0 and 1")
        if self.min_steps < -1 or self.early_stopping_patience < 0:  # -1: the original's way to say none
            raise InputError("--min_steps and --early_stopping_patience: expected numbers of at least 0")


@dataclass(frozen=True)
class StudySettings:
    """Which models learn from how many questions, how often."""

    models: list[str] = field(default_factory=list, metadata={"help": "Folders (or hub names) of the models."})
    model_names: list[str] = field(default_factory=list, metadata={"help": "Their names in the report, in order."})
    sizes: list[str] = field(
        default_factory=lambda: ["16", "32", "64", "128", "256", "512", "1024", FULL],
        metadata={"help": "Numbers of training questions; 'full' is all of them."},
    )
    num_samples: int = field(default=3, metadata={"help": "Random samples per size ('full' has one)."})
    sample_seed: int = field(default=0, metadata={"help": "Seed of the samples."})
    full_epochs: float = field(default=2.0, metadata={"help": "Epochs on 'full', instead of --num_train_epochs."})
    bootstrap_samples: int = field(default=1000, metadata={"help": "Resamples for the confidence of differences."})
    parallel_runs: int = field(
        default=0, metadata={"help": "Runs side by side. 0: one a GPU, where there are several, else one."}
    )
    keep_models: bool = field(default=False, metadata={"help": "Keep the weights of every run (large)."})

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("--models: found none, expected at least one model folder")
        if self.model_names and len(self.model_names) != len(self.models):
            raise InputError(f"--model_names: found {len(self.model_names)}, expected {len(self.models)}")
        if len(set(self.names)) != len(self.names):
            raise InputError(f"--models: found equal names {self.names}, expected different ones (see --model_names)")
        wrong = [size for size in self.sizes if size != FULL and not (size.isdecimal() and int(size) > 0)]
        if wrong or not self.sizes:
            raise InputError(f"--sizes: found {wrong or 'none'}, expected positive numbers or {FULL!r}")
        if self.num_samples < 1 or self.bootstrap_samples < 1:
            raise InputError("--num_samples and --bootstrap_samples: expected at least 1")
        if self.parallel_runs < 0:
            raise InputError(f"--parallel_runs: found {self.parallel_runs}, expected at least 0")

    @property
    def names(self) -> list[str]:
        paths = [Path(model) for model in self.models]
        return self.model_names or [path.resolve().name if path.is_dir() else path.name for path in paths]
