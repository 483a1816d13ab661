"""Speed of fine-tuning, evaluation and decoding, beside the usual recipe, and what each recipe scores.

    python benchmarks/bench_finetuning.py --data F [--model DIR | --vocab_file V] [--steps 20] [--bf16] [--threads 2]

The usual recipe pads every window to max_seq_length, computes attention eagerly in float32, takes windows in random
order, and steps with an unfused AdamW. Both recipes train the same model on the same questions for the same number of
steps and answer the same held-out questions. They take their steps in turn, in one process, so that a machine whose
speed changes by the minute is equally fast for both; the first steps, in which memory is touched for the first time, do
not count. Without --model, a BERT of random weights (6 × 384) stands in; then the speeds mean something and the scores
do not.
"""

import argparse
import json
import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import RandomSampler
from transformers import SplinterTokenizer, set_seed

from finetuning.flags import QATrainingArguments
from finetuning.modeling import ModelWithQASSHead, QASSConfig
from finetuning.qa.decoding import Decoded, WindowSpans, best_spans, decode_documents
from finetuning.qa.features import FeatureSettings, QAFeatures, WindowCollator, build_features
from finetuning.qa.model import QAModel, load_qa_model
from finetuning.qa.questions import QAExample, load_questions, split_by_article
from finetuning.qa.results import score_run
from finetuning.qa.run import peak_memory
from finetuning.qa.settings import ModelSettings
from finetuning.qa.trainer import QATrainer
from kosplinter_common.cli import exit_with_one_line

MAX_SEQ_LENGTH, MAX_ANSWER_LENGTH, N_BEST = 384, 30, 20
QUESTIONS_IN_TURN = 50


@dataclass(frozen=True)
class Recipe:
    attention: str
    padded_to: int | None
    sampling: str
    optimizer: str
    bf16: bool = False


USUAL = Recipe("eager", MAX_SEQ_LENGTH, "random", "adamw_torch")


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


class UsualTrainer(QATrainer):
    """Pads to one length in training and evaluation; evaluates in file order."""

    def decode(self, features: QAFeatures) -> WindowSpans:
        pad_id = self._template.pad_id
        collator = WindowCollator(self._template, with_labels=False)
        self.data_collator = PaddedCollator(collator, MAX_SEQ_LENGTH, pad_id)  # type: ignore[assignment]
        output = self.predict(features)  # type: ignore[arg-type]
        return WindowSpans(*(torch.from_numpy(np.asarray(part)) for part in output.predictions))

    def _get_train_sampler(self, train_dataset: Any = None) -> RandomSampler:
        return RandomSampler(train_dataset)


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
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model.train(), windows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        trainer.optimizer.zero_grad()
        loss.item()  # waits for a GPU
        self.train_seconds.append(time.perf_counter() - started)

    def answer(self, examples: list[QAExample]) -> None:
        features, started = self._features(examples, with_labels=False), time.perf_counter()
        spans = self._trainer.decode(features)
        self.eval_seconds += time.perf_counter() - started
        self.eval_windows += len(features)
        self.decoded |= decode_documents(features, spans, N_BEST, with_null=False)


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
        | score_run(contestant.decoded, held_out, ["korquad"], 0.0)[2]
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
    kind = UsualTrainer if recipe.padded_to else QATrainer
    trainer = kind(
        qa_model.model,
        arguments,
        template=qa_model.template,
        max_answer_length=MAX_ANSWER_LENGTH,
        n_best=N_BEST,
        train_dataset=features,
        processing_class=qa_model.tokenizer,
    )
    if recipe.padded_to:
        collator = WindowCollator(qa_model.template, with_labels=True)
        trainer.data_collator = PaddedCollator(collator, recipe.padded_to, qa_model.template.pad_id)  # type: ignore
    return trainer


def measure_decoding(windows: int, batch_size: int = 64) -> dict[str, float]:
    """Seconds to take the best spans of `windows` windows of 384 random logits, batch by batch."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, batch_size, MAX_SEQ_LENGTH, generator=generator)
    mask = torch.zeros(batch_size, MAX_SEQ_LENGTH, dtype=torch.bool)
    mask[:, 20:-1] = True
    kept, started, cpu = [], time.perf_counter(), time.process_time()
    for _ in range(0, windows, batch_size):
        kept.append(best_spans(logits[0], logits[1], mask, MAX_ANSWER_LENGTH, N_BEST))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    held = sum(part.numel() * part.element_size() for spans in kept for part in spans)
    return {"windows": windows, "seconds": seconds, "cpu_seconds": cpu, "kept_mib": held / 2**20} | peak_memory()


def measure_documents(examples: list[QAExample], qa_model: QAModel, windows: int) -> dict[str, float]:
    """Seconds to make features of the questions, repeated up to `windows` windows, and to merge their best spans."""
    sizes = FeatureSettings(MAX_SEQ_LENGTH)
    started = time.perf_counter()
    features = build_features(examples, qa_model.offset_tokenizer, qa_model.template, sizes, with_labels=False)
    feature_seconds = time.perf_counter() - started
    generator = np.random.default_rng(0)
    starts = np.array([features[i]["context_start"] for i in range(len(features))])[:, None]
    room = (features.windows[:, 2] - features.windows[:, 1])[:, None]
    first = starts + (generator.random((len(features), N_BEST)) * room).astype(np.int64)
    scores = -np.sort(-generator.normal(size=first.shape), axis=1)
    ones = torch.ones(len(features))
    spans = WindowSpans(torch.from_numpy(scores), torch.from_numpy(first), torch.from_numpy(first), ones, ones)
    started, cpu, repeats = time.perf_counter(), time.process_time(), max(round(windows / len(features)), 1)
    for _ in range(repeats):
        decode_documents(features, spans, N_BEST, with_null=False)
    merge_seconds, merge_cpu = time.perf_counter() - started, time.process_time() - cpu
    return (
        peak_memory()
        | {"feature_windows": len(features), "feature_seconds": feature_seconds}
        | {
            "merged_windows": repeats * len(features),
            "merge_seconds": merge_seconds,
            "merge_cpu_seconds": merge_cpu,
        }
    )


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
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast in the fast recipe")
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
            "decoding": measure_decoding(flags.decode_windows),
            "documents": measure_documents(train + held_out, qa_model, flags.decode_windows),
        }
        fast = Recipe("sdpa", None, "group_by_length", "adamw_torch_fused", flags.bf16)
        recipes = {"usual": USUAL, "fast": fast}
        results |= measure(recipes, model_dir, train, held_out[: flags.eval_questions], flags)
    rates = [name for name in results["fast"] if name.endswith("windows_per_second")]
    results["ratios"] = {name: results["fast"][name] / results["usual"][name] for name in rates}
    print(json.dumps(results | peak_memory() | {"threads": flags.threads}, indent=2))


if __name__ == "__main__":
    exit_with_one_line(main)
