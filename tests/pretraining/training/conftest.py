"""One small run that tests look at, copy and go on with."""

import shutil
from pathlib import Path

import pytest

from pretraining.training import run as training
from tests.pretraining.samples import write_config, write_shards
from tests.pretraining.training.runs import RECORDS, settings


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_shards(folder / "train", [9, 12])
    write_shards(folder / "eval", [RECORDS])
    write_config(folder)
    return folder


@pytest.fixture(scope="package")
def finished(folder: Path) -> Path:
    """A run of four steps with an evaluation at its end."""
    output = folder / "finished"
    assert not training.run(settings(folder, output, do_eval=True))
    return output


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"
