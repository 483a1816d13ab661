"""The entry point: a user's mistake is one line and leaves nothing behind."""

import dataclasses
import subprocess
import sys
from pathlib import Path

from pretraining.settings import PretrainingSettings
from tests.pretraining.samples import write_config, write_shards

ROOT = Path(__file__).parents[2]
ORIGINAL_FLAGS = [
    "bert_config_file",
    "input_file",
    "output_dir",
    "init_checkpoint",
    "max_seq_length",
    "max_questions_per_seq",
    "max_predictions_per_seq",
    "recurring_span_selection",
    "only_recurring_span_selection",
    "do_train",
    "do_eval",
    "train_batch_size",
    "eval_batch_size",
    "learning_rate",
    "num_train_steps",
    "num_warmup_steps",
    "save_checkpoints_steps",
    "iterations_per_loop",
    "max_eval_steps",
    "keep_checkpoint_max",
    "use_tpu",
    "tpu_name",
    "tpu_zone",
    "gcp_project",
    "master",
    "num_tpu_cores",
]


def test_the_originals_flags_are_there() -> None:
    assert set(ORIGINAL_FLAGS) <= {field.name for field in dataclasses.fields(PretrainingSettings)}


def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    write_shards(tmp_path / "records", [2], vocab_size=61)
    command = [sys.executable, str(ROOT / "pretraining/run_pretraining.py"), "--do_train", "--recurring_span_selection"]
    command += [f"--bert_config_file={write_config(tmp_path)}", f"--input_file={tmp_path}/records/*.tfrecord"]
    process = subprocess.run([*command, f"--output_dir={tmp_path}/out"], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        f"error: {tmp_path}/records/dataset.json: vocabulary of 61 tokens, expected the config's vocab_size 60"
    )
    assert "Traceback" not in process.stderr and not (tmp_path / "out").exists()
