"""Questions a second beside the classic recipe, and the latency of one question.

    python benchmarks/bench_answering.py --data KorQuAD.json --vocab_file V [--questions 40] [--latency_calls 30]

The classic recipe gives the model one window a time, padded to 384 wordpieces, in float32. Both recipes read the same
windows of the same questions with the same weights, in turn, in blocks, in one process, so that a machine whose speed
changes by the minute is equally fast for both. Weights are random: speed does not depend on them. Latency is that of
QuestionAnswerer.answer with one document, on a model of bert-base's size; processor time is what it would be on a
machine with nothing else to do, with --threads 1.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
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
from finetuning.qa.precision import fast_bfloat16
from finetuning.qa.questions import QAExample, load_questions
from finetuning.qa.reading import DocumentReader
from kosplinter import InputError, QuestionAnswerer
from kosplinter.engine.engine import Engine
from kosplinter_common.cli import exit_with_one_line

MAX_SEQ_LENGTH = 384
BLOCK = 4  # questions that one recipe answers before it is the other's turn
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


def compare(recipes: dict[str, Callable[[Any], Any]], engine: Engine, examples: list[QAExample]) -> dict[str, Any]:
    """Questions a second of each recipe by the clock and by processor time, and how many answers differ."""
    wall, processor, different = (dict.fromkeys(recipes, 0.0) for _ in range(3))
    for first in range(0, len(examples), BLOCK):
        features = engine.features(examples[first : first + BLOCK])
        found: dict[str, Any] = {}
        for name, read in recipes.items():
            started, spent = time.perf_counter(), time.process_time()
            found[name] = read(features)
            wall[name] += time.perf_counter() - started
            processor[name] += time.process_time() - spent
            expected = found["classic"]
            different[name] += sum(
                found[name][key].answers[0].text != expected[key].answers[0].text for key in expected
            )
    return {
        name: {
            "questions_per_second": len(examples) / wall[name],
            "ratio": wall["classic"] / wall[name],
            "ratio_of_processor_time": processor["classic"] / processor[name],
            "different_answers": int(different[name]),
        }
        for name in recipes
    }


def recipes_of(answerer: QuestionAnswerer, folder: Path, threads: int) -> dict[str, Callable[[Any], Any]]:
    """The classic recipe, this project's, in bfloat16 where that is fast, and exported where onnxruntime is there."""
    readers: dict[str, DocumentReader] = {"torch": answerer._engine.reader}
    if fast_bfloat16(use_cpu=True):
        model = answerer._model.qa_model.model  # type: ignore[union-attr]
        readers["bfloat16"] = WindowReader(model, torch.device("cpu"), torch.bfloat16, batch_size=16)
    try:
        for name in ("onnx", "int8"):
            answerer.export_onnx(folder / name, int8=name == "int8")
            readers[name] = QuestionAnswerer.from_onnx(folder / name, threads=threads)._engine.reader
    except InputError as error:
        print(error, file=sys.stderr)
    own = {name: partial(reader.read, settings=DECODING) for name, reader in readers.items()}
    return {"classic": classic(answerer._model.qa_model), **own}  # type: ignore[union-attr]


def latency(answerer: QuestionAnswerer, examples: list[QAExample], calls: int) -> dict[str, float]:
    wall, processor = [], []
    for example in [examples[i % len(examples)] for i in range(calls + 2)]:
        started, spent = time.perf_counter(), time.process_time()
        answerer.answer(example.question, example.context)
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - spent)
    report = {f"latency_p{p}_ms": 1000 * float(np.percentile(wall[2:], p)) for p in (50, 99)}
    return report | {f"processor_p{p}_ms": 1000 * float(np.percentile(processor[2:], p)) for p in (50, 99)}


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
        recipes, engine = recipes_of(answerers["small"], folder, flags.threads), answerers["small"]._engine
        compare(recipes, engine, examples[:2])  # memory is touched for the first time
        report = compare(recipes, engine, examples) | latency(answerers["base"], examples, flags.latency_calls)
    print(json.dumps({"questions": len(examples), "threads": flags.threads, **report}, indent=2))


if __name__ == "__main__":
    exit_with_one_line(main)
