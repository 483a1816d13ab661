"""Answers questions on a text with a fine-tuned model.

    python finetuning/predict.py --model DIR --context_file F --question "…" [--question "…"] [--n_best 3] [--json]
    python finetuning/predict.py --model DIR --context_file F --interactive

Prints for each question the answer, its score, its probability among all spans, and its characters in the file.
A long text is read in overlapping windows.
"""

import argparse
import json
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line

# isort: split

from finetuning.qa.examples import without_lone_surrogates
from finetuning.qa.usage import usage_of


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder that run_qa.py wrote")
    parser.add_argument("--context_file", required=True, help="text to answer from, UTF-8")
    parser.add_argument("--question", action="append", default=[], help="may be given several times")
    parser.add_argument("--interactive", action="store_true", help="ask at a prompt, until an empty line")
    parser.add_argument("--n_best", type=int, default=1, help="answers to print per question")
    parser.add_argument("--max_seq_length", type=int, default=384, help="default: what the model was trained with")
    parser.add_argument("--doc_stride", type=int, default=128, help="likewise")
    parser.add_argument("--max_answer_length", type=int, default=30, help="likewise")
    parser.add_argument("--max_query_length", type=int, default=64, help="likewise; a longer question is cut")
    parser.add_argument(
        "--null_score_diff_threshold",
        type=float,
        help="answer nothing where 'no answer' scores higher than the best answer by more than this ('inf': never); "
        "default: what the model notes, if it learned from questions without an answer, else never",
    )
    parser.add_argument(
        "--bf16", nargs="?", const="True", choices=("True", "False", "auto"), help="in bfloat16; auto: if it pays"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per question")
    parser.set_defaults(**usage_of(parser.parse_args().model))
    flags = parser.parse_args()
    if not flags.question and not flags.interactive:
        raise InputError("nothing to do: expected --question or --interactive")
    for name in ("n_best", "doc_stride", "max_answer_length", "max_seq_length", "max_query_length"):
        if getattr(flags, name) < 1:
            raise InputError(f"--{name}: found {getattr(flags, name)}, expected at least 1")
    return flags


def read_context(path: str) -> str:
    try:
        context = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from error
    if not context.strip():
        raise InputError(f"{path}: the file is empty, expected a text to answer from")
    return context


def asked() -> str:
    """The next question from the prompt, "" at an empty line or the end of the input; the prompt goes to stderr."""
    print("question (empty line ends): ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:  # Ctrl-D
        print(file=sys.stderr)
    return line.strip()


def main() -> None:
    flags = parse_flags()
    context = read_context(flags.context_file)

    from finetuning.qa.answering import Answerer, AnswerSettings
    from finetuning.qa.precision import bool_or_auto, chosen_bf16

    settings = AnswerSettings(
        max_seq_length=flags.max_seq_length,
        doc_stride=flags.doc_stride,
        max_answer_length=flags.max_answer_length,
        n_best=flags.n_best,
        max_query_length=flags.max_query_length,
        null_score_diff_threshold=flags.null_score_diff_threshold,
        bf16=chosen_bf16(flags.bf16 and bool_or_auto(flags.bf16)),
    )
    answerer = Answerer(flags.model, settings)

    def answer(question: str) -> None:
        if (mended := without_lone_surrogates(question)) != question:  # a terminal's bytes that are no UTF-8
            question = mended
            print("question: half a surrogate pair, or a byte that is no UTF-8, became U+FFFD", file=sys.stderr)
        answers = answerer.answer(question, context)
        if flags.json:
            print(json.dumps({"question": question, "answers": answers}, ensure_ascii=False))
            return
        print(f"question     {question}")
        for found in answers:
            print(f"answer       {found['text'] or '(no answer)'}")
            print(f"score        {found['score']:.4f}  (probability {found['probability']:.4f})")
            print(f"characters   {found['start']}–{found['end']}")
        if not answers:
            print("answer       (none found)")

    for question in flags.question:
        answer(question)
    while flags.interactive and (question := asked()):
        answer(question)


if __name__ == "__main__":
    exit_with_one_line(main)
