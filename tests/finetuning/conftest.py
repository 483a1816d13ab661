"""What the tests of this station share."""

from collections.abc import Iterator

import pytest

from finetuning import flags
from tests.finetuning.tiny_checkpoints import DIALECTS, TinyCheckpoint, make_checkpoint


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyCheckpoint]:
    """One checkpoint of each TensorFlow dialect."""
    folder = tmp_path_factory.mktemp("tiny")
    return {name: make_checkpoint(folder / name, name) for name in DIALECTS}


@pytest.fixture(scope="session", autouse=True)
def tensorboard_stays_whole() -> Iterator[None]:
    """Entry points that run in this process would take TensorFlow from TensorBoard, for pretraining's tests too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags, "keep_tensorboard_from_tensorflow", lambda: None)
        yield
