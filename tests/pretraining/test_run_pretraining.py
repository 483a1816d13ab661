"""The entry point: a user's mistake is one line and leaves nothing behind."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from pretraining.settings import PretrainingSettings
from tests.pretraining.samples import write_config, write_shards

ROOT = Path(__file__).parents[2]
ORIGINAL_FLAGS = {  # each with another value than its default
    "bert_config_file": "bert_config_file-given",
    "input_file": "input_file-given",
    "output_dir": "output_dir-given",
    "init_checkpoint": "init_checkpoint-given",
    "max_seq_length": 1004,
    "max_questions_per_seq": 1005,
    "max_predictions_per_seq": 1006,
    "recurring_span_selection": True,
    "only_recurring_span_selection": True,
    "do_train": True,
    "do_eval": True,
    "train_batch_size": 1011,
    "eval_batch_size": 1012,
    "learning_rate": 0.5,
    "num_train_steps": 1014,
    "num_warmup_steps": 1015,
    "save_checkpoints_steps": 1016,
    "iterations_per_loop": 1017,
    "max_eval_steps": 1018,
    "keep_checkpoint_max": 1019,
    "use_tpu": True,
    "tpu_name": "tpu_name-given",
    "tpu_zone": "tpu_zone-given",
    "gcp_project": "gcp_project-given",
    "master": "master-given",
    "num_tpu_cores": 1025,
}


def test_each_of_the_originals_flags_reaches_the_run() -> None:
    """The command's own flags, parsed as a command line is, and the settings that its main hands over."""
    code = """
import json, sys
from absl import app
import pretraining.run_pretraining as command
import pretraining.training.run as training
training.run = lambda settings: print("settings", json.dumps(vars(settings)))
command.PretrainingSettings.__post_init__ = lambda self: None
app.run(command.main)
"""
    given = [f"--{name}={value}" for name, value in ORIGINAL_FLAGS.items()]
    done = subprocess.run([sys.executable, "-c", code, *given], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("settings "))
    settings = json.loads(line.removeprefix("settings "))
    assert {name: settings[name] for name in ORIGINAL_FLAGS} == ORIGINAL_FLAGS
    defaults = {field.name: field.default for field in dataclasses.fields(PretrainingSettings)}
    assert not [name for name, value in ORIGINAL_FLAGS.items() if defaults[name] == value]


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
