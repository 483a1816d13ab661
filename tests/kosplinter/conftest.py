"""Tiny models of every kind, and one that has learned the pattern of tests/finetuning/tiny_qa.py."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from finetuning import flags
from kosplinter import QuestionAnswerer
from tests.finetuning.tiny_qa import (
    bert_folder,
    electra_folder,
    klue_roberta_folder,
    qass_folder,
    question_file,
    splinter_folder,
)

KINDS = {
    "qass": qass_folder,
    "splinter": splinter_folder,
    "bert": bert_folder,
    "electra": electra_folder,
    "roberta": klue_roberta_folder,
}
USE = {"max_seq_length": 48, "doc_stride": 16, "max_answer_length": 6}


@pytest.fixture(scope="session", autouse=True)
def tensorboard_stays_whole() -> Iterator[None]:
    """Learning in this process would take TensorFlow from TensorBoard, for pretraining's tests too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags, "keep_tensorboard_from_tensorflow", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small lose time by a second one, most of all beside other processes."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind, by its name, and questions.json."""
    folder = tmp_path_factory.mktemp("kosplinter")
    for name, make in KINDS.items():
        make(folder / name)
    question_file(folder / "questions.json")
    return folder


@pytest.fixture(scope="session")
def taught(models: Path) -> Path:
    """A QASS model that knows who was born where."""
    qa = QuestionAnswerer.from_pretrained(models / "qass", **USE)
    learn = {"learning_rate": 1e-2, "per_device_train_batch_size": 8, "min_steps": 120, "num_train_epochs": 1}
    qa.fit(models / "questions.json", disable_tqdm=True, **learn)
    qa.save_pretrained(models / "taught")
    return models / "taught"


def qass_without_question_token(models: Path, folder: Path) -> Path:
    """A QASS model whose vocabulary lacks [QUESTION]."""
    bert_folder(folder, with_question=False)
    config = json.loads((models / "qass" / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] - 1}))
    (folder / "model.safetensors").write_bytes((models / "qass" / "model.safetensors").read_bytes())
    return folder
