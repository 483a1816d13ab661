"""A disk without room is named before anything is made, or as soon as it can be known."""

from collections import namedtuple

import pytest

from data_gen.runs import disk_space
from data_gen.runs.pipeline import run
from kosplinter_common.cli import InputError
from tests.data_gen.small_corpus import config_for, write_corpus, write_vocabulary

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def corpus(tmp_path):
    write_vocabulary(tmp_path / "vocab")
    write_corpus(tmp_path / "a.txt", 60)
    return tmp_path


def with_free(monkeypatch, free):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: Usage(10**9, 0, free))


def size_of(folder, pattern):
    return sum(path.stat().st_size for path in folder.rglob(pattern))


def test_too_little_room_ends_the_run_before_it_begins(corpus, monkeypatch):
    text = size_of(corpus, "a.txt")
    with_free(monkeypatch, 2 * text)  # three duplicates are made
    with pytest.raises(InputError, match=r"out: records of this input need \d\.\d MB or more, found 0\.\d MB free"):
        run(config_for(corpus))
    assert not (corpus / "out").exists()
    with_free(monkeypatch, 10**9)
    run(config_for(corpus))
    assert size_of(corpus / "out", "*.tfrecord") > 2 * text


def test_what_will_not_be_enough_is_said_once_and_early(corpus, monkeypatch, caplog):
    run(config_for(corpus, "before"))
    with_free(monkeypatch, int(0.7 * size_of(corpus / "before", "*.tfrecord")))
    run(config_for(corpus))
    said = [text for text in caplog.messages if "the rest of this run needs about" in text]
    assert len(said) == 1


def test_spills_and_shards_together_are_not_much_more_than_the_shards(corpus, monkeypatch):
    most = []
    unlink = type(corpus).unlink

    def note_and_unlink(*arguments, **options):
        most.append(size_of(corpus / "out", "*.records") + size_of(corpus / "out", "*.tfrecord"))
        return unlink(*arguments, **options)

    monkeypatch.setattr(type(corpus), "unlink", note_and_unlink)
    run(config_for(corpus, num_shards=16))
    shards = size_of(corpus / "out", "*.tfrecord")
    assert shards < max(most) < 1.3 * shards
