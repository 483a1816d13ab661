"""The progress bar of a whole run: documents, MB/s, tokens/s, shards and time left."""

import sys
import time
from collections import Counter
from typing import TextIO

from tqdm import tqdm

_TERMINAL_SECONDS, _LOG_SECONDS = 0.5, 15.0
# Writing the shards from the spills takes about this part of the time that reading and generating takes.
_WRITING_SHARE = 0.15
_FORMAT = "{percentage:3.0f}%  {desc}  time left {remaining}"


class _Bar(tqdm):
    """Over itself in a terminal, a line below the last one in a log."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.fp.isatty():
            super().display(msg, pos)
        else:
            print(self, file=self.fp, flush=True)


class Progress:
    """Shows how far a run is; what an earlier run did counts as done, but not towards the speed."""

    def __init__(self, total_bytes: int, num_shards: int, stream: TextIO = sys.stderr):
        self._num_shards = num_shards
        self._total_bytes = max(total_bytes, 1)
        self._done: Counter[str] = Counter()
        self._earlier: Counter[str] = Counter()
        self._begin = time.monotonic()
        seconds = _TERMINAL_SECONDS if stream.isatty() else _LOG_SECONDS
        self._bar = _Bar(
            total=self._work(Counter(bytes=self._total_bytes, shards=num_shards)),
            bar_format=_FORMAT,
            file=stream,
            position=0,
            mininterval=seconds,
            maxinterval=seconds,
            smoothing=0,  # the mean speed: files differ
            delay=1e-9,  # nothing to show before something is done
        )

    def add(self, done: dict[str, int], by_earlier_run: bool = False) -> None:
        """Counts further work: "bytes" of input, "documents", "tokens" of records, "shards"."""
        self._done.update(done)
        if by_earlier_run:
            self._earlier.update(done)
            self._bar.initial = self._work(self._earlier)
            self._bar.n = self._bar.last_print_n = self._bar.initial

    def _work(self, done: Counter[str]) -> int:
        """Bytes read, and for shards what it takes to write them in bytes read."""
        read = min(self._total_bytes, done["bytes"])
        return read + round(_WRITING_SHARE * self._total_bytes * done["shards"] / self._num_shards)

    def end(self) -> None:
        """No more lines, nor one when the program ends, behind what is said then."""
        if not self._bar.disable and self._bar.fp.isatty():
            print(file=self._bar.fp)
        self._bar.disable = True

    def show(self, final: bool = False) -> None:
        """Shows the line, unless it was shown a moment ago."""
        seconds = max(time.monotonic() - self._begin, 1e-9)
        megabytes, tokens = ((self._done[name] - self._earlier[name]) / seconds / 1e6 for name in ("bytes", "tokens"))
        self._bar.set_description_str(
            f"{self._done['documents']:,} documents  {megabytes:.1f} MB/s  {tokens:.2f}M tokens/s  "
            f"{self._done['shards']} of {self._num_shards} shards",
            refresh=False,
        )
        self._bar.update(self._work(self._done) - self._bar.n)
        if final:
            self._bar.refresh()
            self.end()
