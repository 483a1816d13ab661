"""The progress line of a whole run: documents, MB/s, tokens/s and time left."""

import sys
import time
from collections import Counter
from datetime import timedelta
from typing import TextIO

_TERMINAL_SECONDS, _LOG_SECONDS = 0.5, 15.0
# Writing the shards from the spills takes about this part of the time that reading and generating takes.
_WRITING_SHARE = 0.15


class Progress:
    """Shows how far a run is; what an earlier run did counts as done, but not towards the speed."""

    def __init__(self, total_bytes: int, num_shards: int, stream: TextIO = sys.stderr):
        self._stream = stream
        self._total_bytes = max(total_bytes, 1)
        self._num_shards = num_shards
        self._begin = time.monotonic()
        self._shown = -_LOG_SECONDS
        self._done: Counter[str] = Counter()
        self._earlier: Counter[str] = Counter()

    def add(self, done: dict[str, int], by_earlier_run: bool = False) -> None:
        """Counts further work: "bytes" of input, "documents", "tokens" of records, "shards"."""
        self._done.update(done)
        if by_earlier_run:
            self._earlier.update(done)

    def _fraction(self, done: Counter[str]) -> float:
        read = min(1.0, done["bytes"] / self._total_bytes)
        return (read + _WRITING_SHARE * done["shards"] / self._num_shards) / (1 + _WRITING_SHARE)

    def line(self) -> str:
        """The line as it stands now."""
        seconds = max(time.monotonic() - self._begin, 1e-9)
        fraction = self._fraction(self._done)
        gained = fraction - self._fraction(self._earlier)
        left = str(timedelta(seconds=round(seconds * (1 - fraction) / gained))) if gained > 0 else "unknown"
        megabytes, million_tokens = (
            (self._done[name] - self._earlier[name]) / seconds / 1e6 for name in ("bytes", "tokens")
        )
        return (
            f"{fraction:4.0%}  {self._done['documents']:,} documents  {megabytes:.1f} MB/s  "
            f"{million_tokens:.2f}M tokens/s  {self._done['shards']} of {self._num_shards} shards  time left {left}"
        )

    def show(self, final: bool = False) -> None:
        """Shows the line, unless it was shown a moment ago: over itself in a terminal, below itself in a log."""
        terminal = self._stream.isatty()
        now = time.monotonic()
        if not final and now - self._shown < (_TERMINAL_SECONDS if terminal else _LOG_SECONDS):
            return
        self._shown = now
        text = f"\r{self.line():<100}" if terminal else self.line()
        print(text, end="\n" if final or not terminal else "", file=self._stream, flush=True)
