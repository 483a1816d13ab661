"""Writes TFRecords of masked recurring spans from raw text. `--help` tells every flag; docs are in the README.

python data_gen/create_pretraining_data.py --input_file='corpus/*.txt' --output_dir=records --vocab_file=vocab.txt
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line, expand_globs

# isort: split

from absl import app, flags

import data_gen.flags
from data_gen.corpora.reading import name_files
from data_gen.flags import FLAGS, common_settings, flag_values, stopword_lists
from data_gen.runs.pipeline import PipelineConfig, run, use_of_text
from kosplinter_common.files import file_sha256

# What may change when a run goes on: it has no influence on the bytes that are written.
_FREE_FLAGS = ("output_dir", "num_processes", "buffer_mb", "allow_unreadable_files", "verbose")


def _configuration() -> dict[str, Any]:
    """The flags that a run must keep to when it goes on; files count by their content."""
    values = {name: value for name, value in flag_values().items() if name not in _FREE_FLAGS}
    values["vocab_file"] = file_sha256(FLAGS.vocab_file)
    for name, parts in (("stopwords", stopword_lists()), ("exclude_ngrams", _excluded_files())):
        values[name] = [file_sha256(part) if os.path.isfile(part) else part for part in parts]
    return values


def _excluded_files() -> list[str]:
    return expand_globs(FLAGS.exclude_ngrams) if FLAGS.exclude_ngrams else []


def _config() -> PipelineConfig:
    settings = common_settings()
    files = tuple(expand_globs(FLAGS.input_file))
    if not os.path.isfile(FLAGS.vocab_file):
        raise InputError(f"--vocab_file: {FLAGS.vocab_file} not found")
    return PipelineConfig(
        **settings,
        input_files=files,
        output_dir=Path(FLAGS.output_dir),
        vocab_file=Path(FLAGS.vocab_file),
        exclude_ngrams=tuple(_excluded_files()),
        num_processes=FLAGS.num_processes,
        configuration=_configuration(),
    )


def _main() -> None:
    if FLAGS.verbose:
        print(
            f"--verbose is not needed: data_gen/inspect_records.py {FLAGS.output_dir} shows the records",
            file=sys.stderr,
        )
    info = run(_config())
    counts = info.counts
    print(
        f"{counts['records']:,} records of {counts['documents']:,} documents in {len(info.shards)} shards: "
        f"{counts['tokens']:,} tokens, {counts['questions']:,} questions, {counts['padding_rate']:.1%} padding; "
        f"skipped: {info.skipped or 'nothing'}"
    )
    print(use_of_text(counts))
    for what, files in info.files.items():
        if files:
            print(f"files {what.replace('_', ' ')}: {len(files)}: {name_files(files)}")
    if replaced := counts["characters_replaced"]:
        print(f'{replaced:,} characters that the vocabulary lacks were read as others that it has (“ as ", … as ...)')


def main(argv: list[str]) -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if len(argv) > 1:
        sys.exit(f"error: found {argv[1]!r}, expected flags only")
    exit_with_one_line(_main)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers are the parallelism
    flags.adopt_module_key_flags(data_gen.flags)  # --help shows them
    flags.mark_flags_as_required(["input_file", "output_dir", "vocab_file"])
    app.run(main)
