"""The flags of data generation, and the settings they stand for; create_pretraining_data.py and beam_pipeline.py share
them.
"""

import os
import sys
from typing import Any

from absl import flags

from data_gen.corpora.reading import CORPUS_FORMATS, ReaderOptions
from data_gen.passages.generation import GenerationConfig
from data_gen.passages.masking import MaskingConfig
from data_gen.passages.packing import PACKINGS
from data_gen.spans.clusters import BOUNDARIES
from data_gen.spans.stopwords import STOPWORD_LISTS, load_stopwords
from kosplinter_common.cli import InputError
from kosplinter_common.path_patterns import split_at_commas

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
    GenerationConfig.packing,
    list(PACKINGS),
    "disjoint: all text, and none of it twice; a line longer than a record is cut between its sentences. reference: as "
    "the public Splinter, which starts a record with the segment that was cut to fill the last one, and uses only the "
    "beginning of a segment longer than a record.",
)
flags.DEFINE_enum("corpus_format", "auto", list(CORPUS_FORMATS), "Layout of the input; auto looks at the content.")
flags.DEFINE_bool(
    "document_per_line", False, "Plain text: every line is a document (comments, chats), not what blank lines part."
)
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
flags.DEFINE_bool(
    "allow_unreadable_files", False, "Write records without the files that cannot be read; dataset.json names them."
)
flags.DEFINE_integer("max_line_mb", 16, "Longer lines are skipped and counted.", lower_bound=1)
flags.DEFINE_integer("num_shards", 0, "Record files; 0: one for each 64 MB of input, at least 8.", lower_bound=0)
flags.DEFINE_integer("unit_kb", 4096, "Input that a worker takes at a time; another value gives other masks.")
flags.DEFINE_integer(
    "buffer_mb", 64, "Records that a worker holds; it needs about 250 MB and three times this.", lower_bound=1
)
flags.DEFINE_bool("verbose", False, "Of the originals, not needed: data_gen/inspect_records.py shows the records.")


def flag_values() -> dict[str, Any]:
    """Every flag of data generation by its name."""
    return {flag.name: flag.value for flag in FLAGS.get_key_flags_for_module(sys.modules[__name__])}


def stopword_lists() -> list[str]:
    """Names and files of --stopwords."""
    known = split_at_commas(FLAGS.stopwords, lambda part: part in STOPWORD_LISTS or os.path.isfile(part))
    return known or [FLAGS.stopwords]


def common_settings() -> dict[str, Any]:
    """The fields of RunConfig but for the files, which are found differently where they may be remote.

    Raises:
      InputError: a flag's value is wrong; the message names the flag.
    """
    return {
        "generation": _generation(),
        "do_lower_case": FLAGS.do_lower_case,
        "corpus_format": FLAGS.corpus_format,
        "reader_options": _reader_options(),
        "stopwords": frozenset().union(*map(load_stopwords, stopword_lists())),
        "num_shards": FLAGS.num_shards,
        "unit_bytes": FLAGS.unit_kb << 10,
        "allow_unreadable_files": FLAGS.allow_unreadable_files,
        "flags": flag_values(),
    }


def _generation() -> GenerationConfig:
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


def _reader_options() -> ReaderOptions:
    return ReaderOptions(
        document_per_line=FLAGS.document_per_line,
        json_text_key=FLAGS.json_text_key,
        anonymised_speech=FLAGS.anonymised_speech,
        unheard_speech=FLAGS.unheard_speech,
        max_line_bytes=FLAGS.max_line_mb << 20,
    )
