"""Folders that TensorFlow, which looks for checkpoints by glob, takes for patterns; names that it cannot open."""

import json
import os
from pathlib import Path

import pytest
import tensorflow as tf

from finetuning.conversion.tensors import TensorFlowReader
from kosplinter_common.cli import InputError
from pretraining.model.initialization import list_checkpoint
from pretraining.training import run as training
from tests.pretraining.samples import write_config, write_shards
from tests.pretraining.training.runs import rows, settings

CP949 = os.fsdecode("자료".encode("cp949"))


def test_a_run_in_such_a_folder_trains_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "[원천] 1,2*"
    output = folder / "out?"
    write_shards(folder / "train", [9])
    write_shards(folder / "eval", [5])
    write_config(folder)
    assert not training.run(settings(folder, output, num_train_steps=2))
    assert not training.run(settings(folder, output, num_train_steps=4, do_eval=True))
    assert [row["step"] for row in rows(output) if row["kind"] == "train"] == [2, 4]
    assert json.loads((output / "eval_results.json").read_text())["step"] == 4
    assert sorted(path.name for path in (output / "best").glob("model*")) == [
        "model.ckpt-4.data-00000-of-00001",
        "model.ckpt-4.index",
    ]
    checkpoint = str(output / "model.ckpt-4")
    assert list_checkpoint(checkpoint)["global_step"] == [] == list(TensorFlowReader(checkpoint).shapes["global_step"])


def test_nothing_is_left_of_the_link_and_other_names_need_none(tmp_path: Path) -> None:
    from kosplinter_common.files import path_without_wildcards

    (tmp_path / "a[1]").mkdir()
    (tmp_path / "a[1]/file").write_text("x")
    link = Path(path_without_wildcards(str(tmp_path / "a[1]/file")))
    assert link.read_text() == "x" and not set("[*?") & set(str(link))
    for path in (str(tmp_path / "a"), "gs://bucket/[a]"):
        assert path_without_wildcards(path) == path


@pytest.mark.parametrize("name", ["output_dir", "bert_config_file", "init_checkpoint", "input_file"])
def test_a_name_that_tensorflow_cannot_open_is_one_line(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / CP949).write_bytes(b"x")
    with pytest.raises(InputError, match="not UTF-8, which TensorFlow cannot open"):
        training.prepare(settings(folder, tmp_path / "out", **{name: str(tmp_path / CP949)}))
    assert not tf.io.gfile.exists(str(tmp_path / "out"))
