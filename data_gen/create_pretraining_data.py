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

from absl import app, flags

from common.cli import InputError, exit_with_one_line, expand_globs
from common.files import file_sha256
from data_gen.generation import GenerationConfig
from data_gen.masking import MaskingConfig
from data_gen.packing import PACKINGS
from data_gen.pipeline import PipelineConfig, run
from data_gen.readers import CORPUS_FORMATS, ReaderOptions
from data_gen.spans import BOUNDARIES
from data_gen.stopwords import load_stopwords

FLAGS = flags.FLAGS

flags.DEFINE_string("input_file", None, "Input files: glob patterns, comma separated.")
flags.DEFINE_string("output_dir", None, "Output folder: a new or empty one, or that of a run to go on with.")
flags.DEFINE_string("vocab_file", None, "WordPiece vocabulary, one token a line.")
flags.DEFINE_bool("do_lower_case", False, "Lower-case the text and strip accents: for uncased vocabularies.")
flags.DEFINE_integer("max_seq_length", 512, "Tokens in a record, with [CLS], [SEP] and padding.")
flags.DEFINE_integer("dupe_factor", 5, "How often each document is used, each time with other masks.")
flags.DEFINE_integer("random_seed", 12345, "The same seed gives the same bytes, whatever --num_processes is.")
flags.DEFINE_integer("num_processes", os.cpu_count() or 1, "Worker processes.", lower_bound=1)

flags.DEFINE_bool("recurring_span_selection", True, "Make questions of recurring spans.")
flags.DEFINE_bool("only_recurring_span_selection", True, "No masked language modelling beside the questions.")
flags.DEFINE_integer("max_questions_per_seq", 30, "Most questions in a record.", lower_bound=1)
flags.DEFINE_integer("max_span_length", 10, "Longest span, in wordpieces.")
flags.DEFINE_float("masked_lm_prob", 0.15, "Share of a record's tokens that become questions or are masked.")
flags.DEFINE_integer("max_predictions_per_seq", 80, "Most masked tokens in a record.", lower_bound=1)
flags.DEFINE_bool("do_whole_word_mask", False, "Language modelling masks whole words.")
flags.DEFINE_float(
    "geometric_masking_p",
    0.0,
    "Above 0: language modelling masks spans of whole words with lengths drawn from this geometric distribution, up "
    "to --max_span_length (SpanBERT: 0.2).",
)

flags.DEFINE_enum(
    "span_boundary",
    "all",
    list(BOUNDARIES),
    "Where a span may end. all: every occurrence at the end of a word. particle: or before Korean josa and eomi. "
    "first: only the first occurrence is tested, as in the public Splinter.",
)
flags.DEFINE_string("stopwords", "ko,en", "Stop words, comma separated: ko, en, none, or files with a word a line.")
flags.DEFINE_string("exclude_ngrams", None, "ngrams.txt of earlier corpora, comma separated: their spans are not used.")
flags.DEFINE_enum(
    "packing",
    "reference",
    list(PACKINGS),
    "reference: a segment that is cut to fill a record starts the next one again. disjoint: no text twice.",
)
flags.DEFINE_enum("corpus_format", "auto", list(CORPUS_FORMATS), "Layout of the input; auto looks at the content.")
flags.DEFINE_string("json_text_key", ReaderOptions.json_text_key, "JSONL: the key of a document's text.")
flags.DEFINE_enum(
    "anonymised_speech",
    ReaderOptions.anonymised_speech,
    ["word", "remove", "keep"],
    "What becomes of marks like &name&: one plain word, nothing, or the mark itself.",
)
flags.DEFINE_enum(
    "unheard_speech", ReaderOptions.unheard_speech, ["remove", "keep"], "What becomes of unheard speech like ((xx))."
)
flags.DEFINE_integer("max_line_mb", 16, "Longer lines are skipped and counted.", lower_bound=1)
flags.DEFINE_integer("num_shards", 0, "Record files; 0: one for each 64 MB of input, at least 8.", lower_bound=0)
flags.DEFINE_integer("unit_kb", 4096, "Input that a worker takes at a time; another value gives other masks.")
flags.DEFINE_integer(
    "buffer_mb", 64, "Records that a worker holds; it needs about 250 MB and three times this.", lower_bound=1
)

# What may change when a run goes on: it has no influence on the bytes that are written.
_FREE_FLAGS = ("output_dir", "num_processes", "buffer_mb")


def flag_values() -> dict[str, Any]:
    """Every flag of data generation by its name."""
    return {flag.name: flag.value for flag in FLAGS.get_key_flags_for_module(sys.modules[__name__])}


def _configuration() -> dict[str, Any]:
    """The flags that a run must keep to when it goes on; files count by their content."""
    values = {name: value for name, value in flag_values().items() if name not in _FREE_FLAGS}
    values["vocab_file"] = file_sha256(FLAGS.vocab_file)
    for name in ("stopwords", "exclude_ngrams"):
        parts = (values[name] or "").split(",")
        values[name] = [file_sha256(part) if os.path.isfile(part) else part for part in parts]
    return values


def stopwords_from_flags() -> frozenset[str]:
    return frozenset().union(*(load_stopwords(part.strip()) for part in FLAGS.stopwords.split(",")))


def generation_from_flags() -> GenerationConfig:
    """How records are made of a document.

    Raises:
      InputError: a flag's value is wrong; the message names the flag.
    """
    if not FLAGS.recurring_span_selection and FLAGS.only_recurring_span_selection:
        raise InputError(
            "--recurring_span_selection=False with --only_recurring_span_selection=True leaves nothing to learn: "
            "set one of them the other way"
        )
    masking = MaskingConfig(
        max_seq_length=FLAGS.max_seq_length,
        max_questions_per_seq=FLAGS.max_questions_per_seq if FLAGS.recurring_span_selection else 0,
        max_predictions_per_seq=0 if FLAGS.only_recurring_span_selection else FLAGS.max_predictions_per_seq,
        max_span_length=FLAGS.max_span_length,
        span_boundary=FLAGS.span_boundary,
        masked_lm_prob=FLAGS.masked_lm_prob,
        do_whole_word_mask=FLAGS.do_whole_word_mask,
        geometric_masking_p=FLAGS.geometric_masking_p,
    )
    return GenerationConfig(masking, FLAGS.packing, FLAGS.dupe_factor, FLAGS.random_seed, FLAGS.buffer_mb << 20)


def reader_options_from_flags() -> ReaderOptions:
    return ReaderOptions(
        json_text_key=FLAGS.json_text_key,
        anonymised_speech=FLAGS.anonymised_speech,
        unheard_speech=FLAGS.unheard_speech,
        max_line_bytes=FLAGS.max_line_mb << 20,
    )


def _config() -> PipelineConfig:
    generation = generation_from_flags()
    files = tuple(expand_globs(FLAGS.input_file))
    if not os.path.isfile(FLAGS.vocab_file):
        raise InputError(f"--vocab_file: {FLAGS.vocab_file} not found")
    return PipelineConfig(
        input_files=files,
        output_dir=Path(FLAGS.output_dir),
        vocab_file=Path(FLAGS.vocab_file),
        generation=generation,
        do_lower_case=FLAGS.do_lower_case,
        corpus_format=FLAGS.corpus_format,
        reader_options=reader_options_from_flags(),
        stopwords=stopwords_from_flags(),
        exclude_ngrams=tuple(expand_globs(FLAGS.exclude_ngrams)) if FLAGS.exclude_ngrams else (),
        num_shards=FLAGS.num_shards,
        num_processes=FLAGS.num_processes,
        unit_bytes=FLAGS.unit_kb << 10,
        flags=flag_values(),
        configuration=_configuration(),
    )


def _main() -> None:
    info = run(_config())
    counts = info.counts
    print(
        f"{counts['records']:,} records of {counts['documents']:,} documents in {len(info.shards)} shards: "
        f"{counts['tokens']:,} tokens, {counts['questions']:,} questions, {counts['padding_rate']:.1%} padding; "
        f"skipped: {info.skipped or 'nothing'}"
    )


def main(argv: list[str]) -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if len(argv) > 1:
        sys.exit(f"error: found {argv[1]!r}, expected flags only")
    exit_with_one_line(_main)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers are the parallelism
    flags.mark_flags_as_required(["input_file", "output_dir", "vocab_file"])
    app.run(main)
