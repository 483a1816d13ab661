"""The progress bar: what it says of documents, speed, shards and time left, in a terminal and in a log."""

import gc
import io
import re

import pytest
from tqdm import std

from data_gen.runs import progress


class Clock:
    now = 1000.0

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(std.tqdm, "_time", clock.time, raising=False)
    monkeypatch.setattr(std, "time", clock.time)
    return clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_half_of_the_input_in_ten_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    bar = progress.Progress(10_000_000, 4, stream)
    clock.now += 10
    bar.add({"bytes": 5_000_000, "documents": 1234, "tokens": 20_000_000})
    clock.now += progress._LOG_SECONDS - 10
    bar.show()
    # 5 of 11.5 MB of work (writing the shards counts as 1.5) in 15 s: 19.5 s are left
    assert stream.getvalue() == " 43%  1,234 documents  0.3 MB/s  1.33M tokens/s  0 of 4 shards  time left 00:19\n"


def test_work_of_an_earlier_run_is_done_but_not_fast(clock: Clock) -> None:
    stream = io.StringIO()
    bar = progress.Progress(10_000_000, 4, stream)
    bar.add({"bytes": 9_000_000, "documents": 9, "tokens": 9_000_000}, by_earlier_run=True)
    clock.now += 20
    bar.add({"bytes": 1_000_000, "documents": 1, "tokens": 2_000_000})
    bar.show()
    assert stream.getvalue() == " 87%  10 documents  0.1 MB/s  0.10M tokens/s  0 of 4 shards  time left 00:30\n"


def test_a_log_gets_a_line_in_fifteen_seconds_and_the_last_one(clock: Clock) -> None:
    stream = io.StringIO()
    bar = progress.Progress(100, 2, stream)
    for _ in range(60):
        clock.now += 1
        bar.add({"bytes": 1, "documents": 1})
        bar.show()
    bar.add({"bytes": 40, "shards": 2})
    bar.show(final=True)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5 and "\r" not in stream.getvalue()
    assert lines[-1].startswith("100%") and "2 of 2 shards" in lines[-1] and lines[-1].endswith("time left 00:00")


def test_a_terminal_shows_one_line_over_itself(clock: Clock) -> None:
    stream = Terminal()
    bar = progress.Progress(100, 1, stream)
    for _ in range(3):
        clock.now += 1
        bar.add({"bytes": 20, "documents": 1})
        bar.show()
    bar.show(final=True)
    shown = re.split("\r", stream.getvalue())
    assert stream.getvalue().count("\n") == 1 and sum("documents" in text for text in shown) >= 3


@pytest.mark.parametrize(("stream", "behind"), [(io.StringIO(), ""), (Terminal(), "\n")])
def test_nothing_is_shown_behind_what_a_failed_run_says(clock: Clock, stream: io.StringIO, behind: str) -> None:
    bar = progress.Progress(100, 1, stream)
    clock.now += 20
    bar.add({"bytes": 20, "documents": 1})
    bar.show()
    shown = stream.getvalue()
    assert "documents" in shown
    bar.end()
    del bar
    gc.collect()
    assert stream.getvalue() == shown + behind
