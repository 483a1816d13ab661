"""The whole chain on the sample corpus, by the commands a person would type, and a summary of what came of it.

Called by quickstart.sh. Every figure in the summary is read from the files that the stations wrote.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from kosplinter_common.cli import InputError, exit_with_one_line

SAMPLE = Path("sample")
OUTPUT = Path("output/quickstart")
VOCABULARY, BERT_CONFIG = OUTPUT / "vocab.txt", OUTPUT / "bert_config.json"
RECORDS, HELD_OUT_RECORDS = OUTPUT / "records", OUTPUT / "records-held-out"
CHECKPOINTS, MODEL, FINE_TUNED = OUTPUT / "checkpoints", OUTPUT / "model", OUTPUT / "fine-tuned"
DEV_QUESTIONS = SAMPLE / "questions/dev.json"

VOCAB_SIZE = 2500
MAX_SEQ_LENGTH = 256
TRAIN_STEPS = 150
ANSWERS_SHOWN = 3


def command(script: str, **flags: object) -> list[str]:
    return [script, *(f"--{name}={value}" for name, value in flags.items())]


def generate(corpus: str, output_dir: Path, dupe_factor: int) -> list[str]:
    return command(
        "data_gen/create_pretraining_data.py",
        input_file=SAMPLE / "corpus" / corpus,
        output_dir=output_dir,
        vocab_file=VOCABULARY,
        max_seq_length=MAX_SEQ_LENGTH,
        dupe_factor=dupe_factor,
        span_boundary="particle",
        num_processes=2,
    )


def pretrain(**flags: object) -> list[str]:
    return command(
        "pretraining/run_pretraining.py",
        bert_config_file=BERT_CONFIG,
        output_dir=CHECKPOINTS,
        max_seq_length=MAX_SEQ_LENGTH,
        recurring_span_selection=True,
        only_recurring_span_selection=True,
        **flags,
    )


STATIONS = {
    "vocabulary": command(
        "vocab/build_vocab.py",
        input_file=SAMPLE / "corpus/train.txt",
        output_file=VOCABULARY,
        vocab_size=VOCAB_SIZE,
    ),
    "records": generate("train.txt", RECORDS, dupe_factor=20),
    "held-out records": generate("held_out.txt", HELD_OUT_RECORDS, dupe_factor=5),
    "pretraining": pretrain(
        input_file=RECORDS / "*.tfrecord",
        do_train=True,
        train_batch_size=16,
        learning_rate=1e-3,
        num_train_steps=TRAIN_STEPS,
        num_warmup_steps=TRAIN_STEPS // 10,
        save_checkpoints_steps=TRAIN_STEPS,
        log_steps=TRAIN_STEPS // 10,
    ),
    "span selection": pretrain(input_file=HELD_OUT_RECORDS / "*.tfrecord", do_eval=True, eval_batch_size=16),
    "conversion": command(
        "finetuning/convert_tf_to_pytorch.py",
        tf_checkpoint_path=CHECKPOINTS,
        bert_config_file=BERT_CONFIG,
        vocab_file=VOCABULARY,
        pytorch_dump_path=MODEL,
    ),
    "fine-tuning": command(
        "finetuning/run_qa.py",
        model_type="bert",
        model_name_or_path=MODEL,
        qass_head=True,
        tokenizer_name=MODEL,
        output_dir=FINE_TUNED,
        train_file=SAMPLE / "questions/train.json",
        predict_file=DEV_QUESTIONS,
        do_train=True,
        do_eval=True,
        max_seq_length=MAX_SEQ_LENGTH,
        per_gpu_train_batch_size=12,
        learning_rate=1e-3,
        num_train_epochs=5,
    ),
}


def run(title: str, arguments: list[str]) -> float:
    """Runs one command in the foreground and gives its seconds.

    Raises:
      InputError: it ends with another status than 0.
    """
    print(f"\n{title}\n$ python {shlex.join(arguments)}", flush=True)
    start = time.monotonic()
    status = subprocess.run([sys.executable, *arguments], check=False).returncode
    if status != 0:
        raise InputError(f"{arguments[0]} failed: found exit status {status}, expected 0")
    return time.monotonic() - start


def write_config() -> None:
    """The sample's config with the size of the vocabulary that was just trained."""
    config = json.loads((SAMPLE / "bert_config.json").read_text())
    config["vocab_size"] = len(VOCABULARY.read_text(encoding="utf-8").splitlines())
    BERT_CONFIG.write_text(json.dumps(config, indent=2) + "\n")


def dev_questions(count: int) -> list[tuple[str, str, str]]:
    """Context, question and answer of the first question of each of the first `count` articles."""
    articles = json.loads(DEV_QUESTIONS.read_text(encoding="utf-8"))["data"]
    shown = []
    for article in articles[:count]:
        paragraph = article["paragraphs"][0]
        qa = paragraph["qas"][0]
        shown.append((paragraph["context"], qa["question"], qa["answers"][0]["text"]))
    return shown


def answer_questions(title: str) -> float:
    """Asks the fine-tuned model questions it has not seen; gives the seconds."""
    seconds = 0.0
    for number, (context, question, expected) in enumerate(dev_questions(ANSWERS_SHOWN), 1):
        context_file = OUTPUT / f"context-{number}.txt"
        context_file.write_text(context, encoding="utf-8")
        asked = command("finetuning/predict.py", model=FINE_TUNED, context_file=context_file, question=question)
        seconds += run(f"{title} {number} of {ANSWERS_SHOWN}: {question} (right: {expected})\n{context}", asked)
    return seconds


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def results() -> dict[str, str]:
    """What each station came to, from the files it wrote."""
    losses = [row["loss"] for row in map(json.loads, (CHECKPOINTS / "metrics.jsonl").open()) if row["kind"] == "train"]
    spans, answers = read_json(CHECKPOINTS / "eval_results.json"), read_json(FINE_TUNED / "eval_results.json")

    def described(folder: Path) -> str:
        counts = read_json(folder / "dataset.json")["counts"]
        return f"{counts['records']:,} records, {counts['questions']:,} questions, {counts['documents']} articles"

    def beside_chance(name: str, chance: float) -> str:
        accuracy = spans[f"span_{name}_accuracy"]
        return f"{name} {accuracy:.2%} (chance {chance:.3%}, {accuracy / chance:.0f} times)"

    return {
        "vocabulary": f"{read_json(BERT_CONFIG)['vocab_size']:,} pieces",
        "records": described(RECORDS),
        "held-out records": described(HELD_OUT_RECORDS),
        "pretraining": f"{TRAIN_STEPS} steps, loss {losses[0]:.2f} to {losses[-1]:.2f}",
        "span selection": ", ".join(
            [
                beside_chance("exact", spans["span_exact_chance"]),
                beside_chance("start", spans["span_start_chance"]),
                beside_chance("end", spans["span_start_chance"]),
            ]
        ),
        "conversion": "a Hugging Face folder, logits compared with TensorFlow's",
        "fine-tuning": f"EM {answers['korquad_exact_match']:.1f}, F1 {answers['korquad_f1']:.1f} on the "
        f"{answers['total']} questions about articles not seen before",
        "answers": f"{ANSWERS_SHOWN} questions, above",
    }


NEXT_STEPS = f"""\
A model of this size shows that the chain works; it does not answer well. With your own data:
  1. python vocab/fetch_vocab.py kosplinter            (or vocab/build_vocab.py on your corpus)
  2. python data_gen/create_pretraining_data.py --input_file='CORPUS/*' --vocab_file=vocab/koelectra-vocab.txt \\
       --output_dir=records --span_boundary=particle
  3. python pretraining/run_pretraining.py --bert_config_file=pretraining/configs/small.json --do_train \\
       --input_file='records/*.tfrecord' --output_dir=checkpoints
  4. python finetuning/convert_tf_to_pytorch.py, run_qa.py, predict.py, as above; the README has each step.
Files: {OUTPUT}/ ({VOCABULARY.name}, {RECORDS.name}/, {CHECKPOINTS.name}/training_curve.png, {MODEL.name}/, \
{FINE_TUNED.name}/predictions.json)"""


def summarise(seconds: dict[str, float]) -> None:
    print(f"\n{'station':<17} {'seconds':>7}  result")
    for name, result in results().items():
        print(f"{name:<17} {seconds[name]:7.1f}  {result}")
    print(f"{'total':<17} {sum(seconds.values()):7.1f}\n\n{NEXT_STEPS}")


def main() -> None:
    os.chdir(ROOT)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    seconds = {}
    for number, (name, arguments) in enumerate(STATIONS.items(), 1):
        seconds[name] = run(f"[{number}/{len(STATIONS) + 1}] {name}", arguments)
        if name == "vocabulary":
            write_config()
    seconds["answers"] = answer_questions(f"[{len(seconds) + 1}/{len(STATIONS) + 1}] answer")
    summarise(seconds)


if __name__ == "__main__":
    exit_with_one_line(main)
