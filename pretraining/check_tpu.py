"""Checks on any machine, before a TPU is paid for, that its training step compiles, and counts what a step costs.

    python pretraining/check_tpu.py --bert_config_file pretraining/configs/base-ko.json --use_bfloat16

Builds the step as --use_tpu does, with a core's share of the batch, and compiles it whole with XLA. Ends with status 1
and one line naming the operation where something cannot be compiled, where a shape is not static, or where the step
multiplies more than 1.05 times what the model's arithmetic needs.

XLA compiles for this machine's processor here: products are the same on a TPU, fusion, memory and traffic are not.
"""

import os
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
# Nothing is run, so machine code need not be fast: most of the compilation's time is LLVM's. HLO passes stay on.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

from absl import app, flags

from kosplinter_common.cli import InputError, exit_with_one_line
from pretraining.settings import MAX_PREDICTIONS_PER_SEQ, MAX_QUESTIONS_PER_SEQ, MAX_SEQ_LENGTH, PretrainingSettings

FLAGS = flags.FLAGS

flags.DEFINE_string("bert_config_file", None, "JSON with the model's sizes; presets lie in pretraining/configs.")
flags.DEFINE_integer("train_batch_size", PretrainingSettings.train_batch_size, "Examples of one update, all cores.")
flags.DEFINE_integer("gradient_accumulation_steps", 1, "Parts that a core's batch is computed in.")
flags.DEFINE_integer("max_seq_length", MAX_SEQ_LENGTH, "Length of the records.")
flags.DEFINE_integer("max_questions_per_seq", MAX_QUESTIONS_PER_SEQ, "[QUESTION] slots of a record; 0: no spans.")
flags.DEFINE_integer(
    "max_predictions_per_seq", 0, f"Masked LM slots of a record, {MAX_PREDICTIONS_PER_SEQ} by default in training."
)
flags.DEFINE_bool("use_bfloat16", False, "Matrix products in bfloat16.")
flags.DEFINE_bool("use_one_hot_embeddings", False, "Word embedding by one-hot product; its products are then wanted.")
flags.DEFINE_integer("num_tpu_cores", PretrainingSettings.num_tpu_cores, "8 for v2-8 and v3-8.")
flags.mark_flag_as_required("bert_config_file")


def main(argv: list[str]) -> None:
    parts = FLAGS.num_tpu_cores * FLAGS.gradient_accumulation_steps
    if parts < 1 or FLAGS.train_batch_size < 1 or FLAGS.train_batch_size % parts:
        raise InputError(
            f"--train_batch_size: found {FLAGS.train_batch_size}, expected a multiple of --num_tpu_cores times "
            f"--gradient_accumulation_steps ({parts})"
        )

    import tensorflow as tf

    from kosplinter_common.records.examples import RecordSpec
    from pretraining.model.configuration import BertConfig
    from pretraining.tpu import report as tpu_report
    from pretraining.training.train_step import StepSettings

    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    step = StepSettings(
        config=BertConfig.from_json_file(FLAGS.bert_config_file),
        objectives=RecordSpec(FLAGS.max_seq_length, FLAGS.max_questions_per_seq, FLAGS.max_predictions_per_seq),
        # A schedule's numbers change no shape and no product.
        learning_rate=PretrainingSettings.learning_rate,
        num_train_steps=PretrainingSettings.num_train_steps,
        num_warmup_steps=PretrainingSettings.num_warmup_steps,
        gradient_accumulation_steps=FLAGS.gradient_accumulation_steps,
        use_bfloat16=FLAGS.use_bfloat16,
        use_one_hot_embeddings=FLAGS.use_one_hot_embeddings,
    )
    report = tpu_report.check(step, FLAGS.num_tpu_cores, FLAGS.train_batch_size // FLAGS.num_tpu_cores)
    print("\n".join(report.lines()))
    report.raise_if_wasteful()


if __name__ == "__main__":
    exit_with_one_line(lambda: app.run(main))
