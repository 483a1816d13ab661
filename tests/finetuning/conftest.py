"""Checkpoints that the conversion tests share."""

import pytest

from tests.finetuning.tiny_checkpoints import DIALECTS, TinyCheckpoint, make_checkpoint


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyCheckpoint]:
    """One checkpoint of each TensorFlow dialect."""
    folder = tmp_path_factory.mktemp("tiny")
    return {name: make_checkpoint(folder / name, name) for name in DIALECTS}
