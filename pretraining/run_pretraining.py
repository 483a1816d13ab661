"""Pretrains the encoder with QASS on recurring spans, on masked LM, or on both, with TPUEstimator.

    python pretraining/run_pretraining.py --bert_config_file pretraining/configs/tiny.json \
        --input_file 'records/*.tfrecord' --output_dir run --do_train --do_eval

The same command goes on from the last checkpoint. Spans and masked LM are trained as the records hold them, or as
--recurring_span_selection and --only_recurring_span_selection say.

eval_results.{txt,json} hold, each a mean over all questions, the accuracies of start, end and both (exact, each the
argmax of its own logits), and the loss. Beside them stands chance: for a start or an end a uniform choice among the
record's unmasked tokens; for an exact hit a uniform choice among the record's spans of at most 10 unmasked tokens.
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is imported

from absl import app, flags, logging

from kosplinter_common.cli import exit_with_one_line
from pretraining.settings import PretrainingSettings

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(PretrainingSettings)}
EXIT_SIGNAL = 128  # and the signal's number: 143 for SIGTERM, 130 for Ctrl-C


def _text(name: str, help_text: str) -> None:
    default = _DEFAULTS[name]
    flags.DEFINE_string(name, None if default is dataclasses.MISSING else default, help_text)


def _number(name: str, help_text: str) -> None:
    flags.DEFINE_integer(name, _DEFAULTS[name], help_text)


def _switch(name: str, help_text: str) -> None:
    flags.DEFINE_bool(name, _DEFAULTS[name], help_text)


_text("bert_config_file", "JSON with the model's sizes; presets lie in pretraining/configs.")
_text("output_dir", "Where checkpoints, metrics.jsonl, training_curve.png and eval results go. Local or gs://.")
_text("input_file", "TFRecord files to train on: globs, comma separated.")
_text("eval_input_file", "Held-out TFRecord files for --do_eval; --input_file where empty.")
_text("vocab_file", "If given, its SHA-256 must be the one in dataset.json and of the run.")
_text("init_checkpoint", "Start a new run from these weights (Google BERT's variable names).")
flags.DEFINE_float(
    "layer_norm_eps", None, "In place of the config's, in a public system's for QASS too.", lower_bound=0
)
flags.DEFINE_enum(
    "initializer",
    _DEFAULTS["initializer"],
    ["bert", "structured"],
    "Initial weights of a new run. bert: at random. structured: layer 0 looks around each position and QASS compares "
    "contexts, so that small models learn at once. --init_checkpoint goes first.",
)
_number("max_seq_length", "Length of the records; default: dataset.json's, else 512.")
_number("max_questions_per_seq", "[QUESTION] slots of a record; default: dataset.json's, else 30.")
_number("max_predictions_per_seq", "Masked LM slots of a record; default: dataset.json's, else 30.")
_switch("recurring_span_selection", "Train span selection; default: where dataset.json says that the records hold it.")
_switch("only_recurring_span_selection", "Leave masked LM out; default: where the records hold no predictions.")
_switch("do_train", "Train.")
_switch("do_eval", "Evaluate after training, or the newest checkpoint.")
_switch(
    "eval_follow",
    "With --do_eval alone, beside a training: evaluate each checkpoint as it comes, until training has ended.",
)
_switch(
    "allow_changed_records",
    "Go on with other records than before (a corpus that grew), from their first one; weights, moments and step stay.",
)
_number("train_batch_size", "Examples of one update, over all devices and accumulation steps.")
_number("eval_batch_size", "Examples of one evaluation step, over all devices.")
_number("gradient_accumulation_steps", "Parts that an update's batch is computed in, one after the other.")
flags.DEFINE_float("learning_rate", _DEFAULTS["learning_rate"], "Peak, reached after the warm-up.")
_number("num_train_steps", "Updates.")
_number("num_warmup_steps", "Updates of linear warm-up.")
_number("save_checkpoints_steps", "Updates between checkpoints.")
_number("keep_checkpoint_max", "Newest checkpoints to keep; 0 for all. The best by evaluation is kept in best/.")
_number(
    "keep_checkpoint_every_steps",
    "Keep for ever the first checkpoint at or after each multiple of this, beside the newest; 0: none.",
)
_number("iterations_per_loop", "TPU: updates without coming back to the host; 0: to the next checkpoint.")
_number("log_steps", "Updates between log lines.")
_number("eval_every_steps", "Updates between evaluations; 0: only at the end.")
_number("max_eval_steps", "Evaluation steps at most; 0: every record, once.")
_number("shuffle_buffer_size", "Records shuffled at a time.")
_number("random_seed", "Of the records' order and of the weights.")
_switch("use_bfloat16", "Matrix products in bfloat16; variables, logits, softmax and loss stay float32.")
_switch("use_xla", "GPU: compile with XLA. Refused on a CPU, which gets slower by it; a TPU always compiles.")
_switch("use_one_hot_embeddings", "Word embedding by one-hot product instead of a gather.")
flags.DEFINE_enum(
    "distribution",
    _DEFAULTS["distribution"],
    ["auto", "none", "mirrored", "multi_worker"],
    "tf.distribute strategy; auto: multi_worker with a cluster in TF_CONFIG, mirrored with several GPUs, else none.",
)
_switch("use_tpu", "Train on a TPU.")
_text("tpu_name", "`local` on a TPU VM, a TPU's name, or grpc://address:port.")
_text("tpu_zone", "Zone of a named TPU.")
_text("gcp_project", "Project of a named TPU.")
_text("master", "Address of a TensorFlow master, in place of --tpu_name.")
_number("num_tpu_cores", "8 for v2-8 and v3-8.")
flags.mark_flags_as_required(["bert_config_file", "output_dir"])


def main(argv: list[str]) -> None:
    import tensorflow as tf

    from pretraining.training.run import run

    # TPUEstimator is made for TF1's behaviour; one behaviour for all devices.
    tf.compat.v1.disable_v2_behavior()
    # TensorFlow warns of its own deprecated parts; what a person should know, this program logs itself.
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    logging.set_verbosity(logging.INFO)
    values: dict[str, Any] = {name: flags.FLAGS[name].value for name in _DEFAULTS}
    if number := run(PretrainingSettings(**values)):
        sys.exit(EXIT_SIGNAL + number)


if __name__ == "__main__":
    exit_with_one_line(lambda: app.run(main))
