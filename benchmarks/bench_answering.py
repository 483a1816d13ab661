"""Questions a second beside the classic recipe, and the latency of one question.

    python benchmarks/bench_answering.py --data KorQuAD.json --vocab_file V [--questions 40] [--latency_calls 30]

The classic recipe gives the model one window a time, padded to 384 wordpieces, in float32. Both recipes read the same
windows of the same questions with the same weights, in turn, in blocks, in one process, so that a machine whose speed
changes by the minute is equally fast for both. Weights are random: speed does not depend on them. Latency is that of
QuestionAnswerer.answer with one document, on a model of bert-base's size.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from transformers import SplinterTokenizer

from finetuning.modeling import ModelWithQASSHead, QASSConfig
from finetuning.qa.decoding import DecodingSettings
from finetuning.qa.evaluation import WindowReader
from finetuning.qa.features import WindowCollator
from finetuning.qa.model import QAModel
from finetuning.qa.questions import QAExample, load_questions
from kosplinter import QuestionAnswerer
from kosplinter_common.cli import exit_with_one_line

MAX_SEQ_LENGTH = 384
BLOCK = 10  # questions that one recipe answers before it is the other's turn
DECODING = DecodingSettings(max_answer_length=30, n_best=1, with_null=False)
SIZES = {"small": (6, 384, 6), "base": (12, 768, 12)}  # layers, width, heads


def make_model(folder: Path, vocab_file: str, size: str) -> Path:
    pieces = {line: i for i, line in enumerate(Path(vocab_file).read_text(encoding="utf-8").split("\n")) if line}
    tokenizer = SplinterTokenizer(vocab=pieces, do_lower_case=False, strip_accents=False)
    layers, width, heads = SIZES[size]
    config = QASSConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        question_token_id=tokenizer.get_vocab()["[QUESTION]"],
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    ModelWithQASSHead(config).save_pretrained(folder / size)
    tokenizer.save_pretrained(folder / size)
    return folder / size


def classic(qa_model: QAModel) -> Callable[[Any], Any]:
    """Answers features as the classic recipe does."""
    reader = WindowReader(qa_model.model, torch.device("cpu"), torch.float32, batch_size=1)
    collate = WindowCollator(qa_model.template, with_labels=False)

    def padded(windows: list[dict[str, Any]]) -> dict[str, Any]:
        filler = dict(windows[0])
        for name in ("input_ids", "token_type_ids"):
            filler[name] = np.full(MAX_SEQ_LENGTH, qa_model.template.pad_id, np.int32)
        batch = {name: part[:1].contiguous() for name, part in collate([windows[0], filler]).items()}
        batch["attention_mask"][:, len(windows[0]["input_ids"]) :] = 0
        return batch

    return lambda features: reader.read(features, DECODING, collate=padded)


def compare(answerer: QuestionAnswerer, examples: list[QAExample]) -> dict[str, float]:
    """Questions a second of both, and how many answers differ."""
    engine = answerer._engine
    old = classic(answerer._model.qa_model)  # type: ignore[union-attr]
    spent, different = {"classic": 0.0, "here": 0.0}, 0
    for first in range(0, len(examples), BLOCK):
        features = engine.features(examples[first : first + BLOCK])
        started = time.perf_counter()
        expected = old(features)
        between = time.perf_counter()
        found = engine.reader.read(features, DECODING)
        spent["classic"], spent["here"] = (
            spent["classic"] + between - started,
            spent["here"] + time.perf_counter() - between,
        )
        different += sum(found[name].answers[0].text != expected[name].answers[0].text for name in expected)
    rates = {f"questions_per_second_{name}": len(examples) / seconds for name, seconds in spent.items()}
    return rates | {"ratio": spent["classic"] / spent["here"], "different_answers": different}


def latency(answerer: QuestionAnswerer, examples: list[QAExample], calls: int) -> dict[str, float]:
    seconds = []
    for example in [examples[i % len(examples)] for i in range(calls + 2)]:
        started = time.perf_counter()
        answerer.answer(example.question, example.context)
        seconds.append(time.perf_counter() - started)
    return {f"latency_p{p}_ms": 1000 * float(np.percentile(seconds[2:], p)) for p in (50, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="questions in any known layout")
    parser.add_argument("--vocab_file", required=True)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--latency_calls", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    flags = parser.parse_args()
    examples = load_questions(flags.data).examples
    examples = examples[:: max(len(examples) // flags.questions, 1)][: flags.questions]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answerers = {
            size: QuestionAnswerer.from_pretrained(make_model(folder, flags.vocab_file, size), threads=flags.threads)
            for size in SIZES
        }
        compare(answerers["small"], examples[:BLOCK])  # memory is touched for the first time
        report = compare(answerers["small"], examples)
        report |= latency(answerers["base"], examples, flags.latency_calls)
    print(json.dumps({"questions": len(examples), "threads": flags.threads, **report}, indent=2))


if __name__ == "__main__":
    exit_with_one_line(main)
