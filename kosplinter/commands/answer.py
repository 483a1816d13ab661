"""Answers a question, a file of questions, or JSON lines from the standard input.

    kosplinter answer --model DIR --question Q --document a.txt [--document b.txt]
    kosplinter answer --model DIR --input questions.json --output answers.jsonl
    kosplinter answer --model DIR < questions.jsonl > answers.jsonl

Input: KorQuAD, SQuAD and every other layout that run_qa.py reads; or JSON lines of {"id", "question"} and "context",
"document" or "documents" (a list of texts, one ranking). Output: a JSON line for each question, in order, with its
"answers", or with "error" where it cannot be asked; a file named .json becomes {id: text}, which KorQuAD's and SQuAD's
scorers read. A run that was stopped goes on where it was, by the same command.
"""

import argparse
import json
import sys
from pathlib import Path

from kosplinter.commands.answer_files import answer_file, answer_stream
from kosplinter.commands.models import add_model_flags, load_answerer
from kosplinter.engine.inputs import check_limits
from kosplinter_common.cli import InputError

NAME = "answer"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_model_flags(parser)
    parser.add_argument(
        "--question", action="append", default=[], help="asked of --document; may be given several times"
    )
    parser.add_argument("--document", action="append", default=[], help="UTF-8 text file; several have one ranking")
    parser.add_argument("--input", help="file of questions; default: JSON lines from the standard input")
    parser.add_argument("--output", help="file of answers, .jsonl or .json; default: the standard output")
    parser.add_argument("--overwrite", action="store_true", help="replace --output where it is finished already")
    parser.add_argument("--top_k", type=int, default=1, help="answers to a question")
    parser.add_argument("--min_probability", type=float, help="of an answer; default: as the model was calibrated")


def run(flags: argparse.Namespace) -> None:
    if bool(flags.question) != bool(flags.document):
        missing = "--document" if flags.question else "--question"
        raise InputError(f"{missing}: found nothing, expected one: --question is asked of --document")
    if flags.question and (flags.input or flags.output):
        raise InputError("--question: found a file of questions or answers too, expected one of the two")
    if flags.output and not flags.input:
        raise InputError("--output: expected --input with it (or > FILE behind the command)")
    check_limits(flags.top_k, flags.min_probability)
    if flags.question:
        _answer_here(flags)
        return
    if flags.output:
        answer_file(lambda: load_answerer(flags), flags)
        return
    answer_stream(load_answerer(flags), flags.input, sys.stdin.buffer, sys.stdout, flags.top_k, flags.min_probability)


def _answer_here(flags: argparse.Namespace) -> None:
    documents = [read_document(path) for path in flags.document]
    answerer = load_answerer(flags)
    requests = [(question, documents) for question in flags.question]
    rankings = answerer.answer_many(requests, top_k=flags.top_k, min_probability=flags.min_probability)
    for question, answers in zip(flags.question, rankings, strict=True):
        rows = [vars(answer) | {"document": flags.document[answer.document]} for answer in answers]
        print(json.dumps({"question": question, "answers": rows}, ensure_ascii=False))


def read_document(path: str) -> str:
    """Raises InputError for a file that is not UTF-8 or is blank."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty, expected a text to answer from")
    return text
