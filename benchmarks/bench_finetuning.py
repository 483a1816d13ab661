"""Speed of fine-tuning, evaluation and decoding, beside the usual recipe, and what each recipe scores.

    python benchmarks/bench_finetuning.py --data F [--model DIR | --vocab_file V] [--steps 20] [--bf16] [--threads 2]

The usual recipe pads every window to max_seq_length, computes attention eagerly in float32, takes windows in random
order, draws dropout on one core, and steps with an unfused AdamW. This project's recipe is shown in float32 and, where
the machine is fast at it (or --bf16 says so), in bfloat16. All recipes train the same model on the same questions for
the same number of steps and answer the same held-out questions. They take their steps in turn, in one process, so that
a machine whose speed changes by the minute is equally fast for all; the first steps, in which memory is touched for the
first time, do not count. Without --model, a BERT of random weights (6 × 384) stands in; then the speeds mean something
and the scores do not.
"""

import argparse
import json
import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch.nn import functional
from transformers import SplinterTokenizer, set_seed

from finetuning.flags import QATrainingArguments
from finetuning.modeling import ModelWithQASSHead, QASSConfig
from finetuning.qa.decoding import Decoded, DecodingSettings, WindowLogits, decode_document
from finetuning.qa.dropout import draw_on_all_cores
from finetuning.qa.evaluation import WindowReader
from finetuning.qa.features import FeatureSettings, QAFeatures, WindowCollator, build_features
from finetuning.qa.model import QAModel, load_qa_model
from finetuning.qa.precision import bool_or_auto, chosen_bf16, evaluation_dtype
from finetuning.qa.questions import QAExample, load_questions, split_by_article
from finetuning.qa.reading import batches_by_length, document_borders
from finetuning.qa.results import score_run
from finetuning.qa.run import peak_memory
from finetuning.qa.settings import ModelSettings
from finetuning.qa.trainer import QATrainer
from kosplinter_common.cli import exit_with_one_line

MAX_SEQ_LENGTH = 384
DECODING = DecodingSettings(max_answer_length=30, n_best=20, with_null=False)
QUESTIONS_IN_TURN = 50


@dataclass(frozen=True)
class Recipe:
    attention: str
    dropout_on_all_cores: bool
    padded_to: int | None
    sampling: str
    optimizer: str
    bf16: bool = False


USUAL = Recipe("eager", False, MAX_SEQ_LENGTH, "random", "adamw_torch")
FAST = Recipe("sdpa", True, None, "group_by_length", "adamw_torch_fused")


class PaddedCollator:
    """Another collator's batches, padded further to one length."""

    def __init__(self, collate: WindowCollator, length: int, pad_id: int) -> None:
        self._collate, self._length, self._pad_id = collate, length, pad_id

    def __call__(self, windows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self._collate(windows)
        missing = self._length - batch["input_ids"].shape[1]
        for name in ("input_ids", "attention_mask", "token_type_ids", "context_mask"):
            if name in batch:
                batch[name] = functional.pad(
                    batch[name], (0, missing), value=self._pad_id if name == "input_ids" else 0
                )
        batch["position_ids"] = torch.arange(self._length).repeat(len(windows), 1)
        return batch


def in_file_order(lengths: np.ndarray, batch_size: int, pad: bool) -> list[np.ndarray]:
    """The usual batches: whatever comes next."""
    return np.split(np.arange(len(lengths)), range(batch_size, len(lengths), batch_size))


def random_model(folder: Path, vocab_file: str, layers: int, hidden: int) -> None:
    lines = Path(vocab_file).read_text(encoding="utf-8").splitlines()
    vocabulary = {piece: i for i, piece in enumerate(lines)}
    tokenizer = SplinterTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=False)
    tokenizer.save_pretrained(folder)
    config = QASSConfig(
        vocab_size=len(vocabulary),
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        pad_token_id=vocabulary["[PAD]"],
        question_token_id=vocabulary["[QUESTION]"],
    )
    ModelWithQASSHead(config).save_pretrained(folder)


class Contestant:
    """A model that learns and answers by one recipe, a few windows at a time, and how long it took."""

    def __init__(
        self, recipe: Recipe, model_dir: str, train: list[QAExample], output_dir: str, flags: Namespace
    ) -> None:
        set_seed(0)
        self._qa_model = load_qa_model(ModelSettings(model_name_or_path=model_dir), MAX_SEQ_LENGTH)
        self._qa_model.model.set_attn_implementation(recipe.attention)
        if recipe.dropout_on_all_cores and not torch.cuda.is_available():
            draw_on_all_cores(self._qa_model.model)
        self._recipe = recipe
        self._trainer: Any = _trainer(
            recipe, self._qa_model, self._features(train, with_labels=True), output_dir, flags
        )
        self._trainer.create_optimizer_and_scheduler(flags.warmup_steps + flags.steps)
        self._batches = iter(self._trainer.get_train_dataloader())
        self.train_seconds: list[float] = []
        self.eval_seconds, self.eval_windows = 0.0, 0
        self.decoded: dict[str, Decoded] = {}

    def _features(self, examples: list[QAExample], with_labels: bool) -> QAFeatures:
        sizes = FeatureSettings(MAX_SEQ_LENGTH)
        return build_features(examples, self._qa_model.offset_tokenizer, self._qa_model.template, sizes, with_labels)

    def learn(self) -> None:
        """One step, as Trainer takes it."""
        trainer, started = self._trainer, time.perf_counter()
        windows = trainer._prepare_inputs(next(self._batches))
        with trainer.accelerator.autocast():
            loss = trainer.compute_loss(trainer.model.train(), windows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        trainer.optimizer.zero_grad()
        loss.item()  # waits for a GPU
        self.train_seconds.append(time.perf_counter() - started)

    def answer(self, examples: list[QAExample]) -> None:
        features, arguments = self._features(examples, with_labels=False), self._trainer.args
        reader_of = (self._trainer.model.eval(), arguments.device, evaluation_dtype(arguments))
        started = time.perf_counter()
        if self._recipe.padded_to:
            reader = WindowReader(*reader_of, arguments.eval_batch_size, in_file_order)
            collator = WindowCollator(features.template, with_labels=False)
            padded = PaddedCollator(collator, self._recipe.padded_to, features.template.pad_id)
            self.decoded |= reader.read(features, DECODING, padded)
        else:
            self.decoded |= WindowReader(*reader_of, arguments.eval_batch_size, batches_by_length).read(
                features, DECODING
            )
        self.eval_seconds += time.perf_counter() - started
        self.eval_windows += len(features)


def measure(
    recipes: dict[str, Recipe], model_dir: str, train: list[QAExample], held_out: list[QAExample], flags: Namespace
) -> dict[str, dict[str, Any]]:
    """Windows per second, and scores, of each recipe."""
    with tempfile.TemporaryDirectory() as folder:
        contestants = {name: Contestant(recipe, model_dir, train, folder, flags) for name, recipe in recipes.items()}
        for _ in range(flags.warmup_steps + flags.steps):
            for contestant in contestants.values():
                contestant.learn()
        for first in range(0, len(held_out), QUESTIONS_IN_TURN):
            for contestant in contestants.values():
                contestant.answer(held_out[first : first + QUESTIONS_IN_TURN])
    windows = flags.steps * flags.batch_size
    return {
        name: asdict(recipes[name])
        | {
            "train_windows_per_second": windows / sum(contestant.train_seconds[flags.warmup_steps :]),
            "eval_windows_per_second": contestant.eval_windows / contestant.eval_seconds,
        }
        | score_run(contestant.decoded, held_out, ["korquad"], None)[2]
        for name, contestant in contestants.items()
    }


def _trainer(recipe: Recipe, qa_model: QAModel, features: QAFeatures, output_dir: str, flags: Namespace) -> QATrainer:
    arguments = QATrainingArguments(
        output_dir=output_dir,
        max_steps=flags.warmup_steps + flags.steps,
        per_device_train_batch_size=flags.batch_size,
        warmup_steps=flags.warmup_steps,
        train_sampling_strategy=recipe.sampling,
        optim=recipe.optimizer,
        bf16=recipe.bf16,
        bf16_full_eval=False,
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    trainer = QATrainer(
        qa_model.model,
        arguments,
        template=qa_model.template,
        train_dataset=features,
        processing_class=qa_model.tokenizer,
    )
    if recipe.padded_to:
        collator = WindowCollator(qa_model.template, with_labels=True)
        trainer.data_collator = PaddedCollator(collator, recipe.padded_to, qa_model.template.pad_id)  # type: ignore
    return trainer


def measure_decoding(examples: list[QAExample], qa_model: QAModel, windows: int) -> dict[str, float]:
    """Seconds to make features of the questions, and to decode `windows` windows of random logits for them."""
    sizes = FeatureSettings(MAX_SEQ_LENGTH)
    started = time.perf_counter()
    features = build_features(examples, qa_model.offset_tokenizer, qa_model.template, sizes, with_labels=False)
    feature_seconds = time.perf_counter() - started
    firsts = np.r_[0, (features.windows[:, 2] - features.windows[:, 1]).cumsum()]
    starts, ends = np.random.default_rng(0).normal(size=(2, firsts[-1])).astype(np.float32)
    null_scores = np.zeros(len(features))
    borders = document_borders(features.windows[:, 0]).tolist()
    started, cpu, decoded = time.perf_counter(), time.process_time(), 0
    while decoded < windows:
        for begin, end in pairwise(borders):
            logits = WindowLogits(starts, ends, firsts[begin:end], null_scores[begin:end])
            decode_document(features, begin, end, logits, DECODING)
        decoded += len(features)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return peak_memory() | {
        "feature_windows": len(features),
        "feature_seconds": feature_seconds,
        "decoded_windows": decoded,
        "decoding_seconds": seconds,
        "decoding_cpu_seconds": cpu,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="questions; half of the articles are held out")
    parser.add_argument("--model", help="a fine-tunable model folder")
    parser.add_argument("--vocab_file", help="vocabulary of the random model, if no --model is given")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--warmup_steps", type=int, default=5, help="steps before those that are timed")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=12)
    parser.add_argument("--eval_questions", type=int, default=200)
    parser.add_argument("--decode_windows", type=int, default=100_000)
    parser.add_argument(
        "--bf16",
        type=bool_or_auto,
        nargs="?",
        const=True,
        default="auto",
        help="show bfloat16; auto: if it is fast",
    )
    parser.add_argument("--threads", type=int, default=2)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    train, held_out = split_by_article(load_questions(flags.data).examples, 0.5, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        if not flags.model:
            random_model(Path(folder), flags.vocab_file, flags.layers, flags.hidden)
        model_dir = flags.model or folder
        qa_model = load_qa_model(ModelSettings(model_name_or_path=model_dir), MAX_SEQ_LENGTH)
        results: dict[str, Any] = {
            "decoding": measure_decoding(train + held_out, qa_model, flags.decode_windows),
        }
        recipes = {"usual": USUAL, "float32": FAST}
        if chosen_bf16(flags.bf16):
            recipes["bfloat16"] = replace(FAST, bf16=True)
        results |= measure(recipes, model_dir, train, held_out[: flags.eval_questions], flags)
    rates = [name for name in results["usual"] if name.endswith("windows_per_second")]
    results["ratios"] = {
        dtype: {name: results[dtype][name] / results["usual"][name] for name in rates}
        for dtype in recipes
        if dtype != "usual"
    }
    print(json.dumps(results | peak_memory() | {"threads": flags.threads}, indent=2))


if __name__ == "__main__":
    exit_with_one_line(main)
