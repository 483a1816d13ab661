"""What every corpus format shares: its options, the faults it may count, and how it hands over text."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from kosplinter_common.cli import InputError

logger = logging.getLogger(__name__)

NAMED_PER_REASON = 3  # faults of one kind that are named in the log, per unit of work; all are counted


@dataclass(frozen=True)
class ReaderOptions:
    """How corpora are read; the defaults suit Korean pretraining text."""

    json_text_key: str = "text"  # JSONL: the key of a document's text
    anonymised_speech: str = "word"  # &name& becomes one plain word; "remove" drops it; "keep" leaves the mark
    unheard_speech: str = "remove"  # (()), ((xx)) and a lone hyphen in speech; "keep" leaves them
    document_per_line: bool = False  # plain text: each line is a document (comments, chats), blank lines mean nothing
    max_line_bytes: int = 16 << 20  # a longer line, or a longer run of JSON without a quote, is a fault
    max_document_characters: int = 4 << 20  # a longer document goes on as further documents

    def __post_init__(self) -> None:
        choices = {"anonymised_speech": ("word", "remove", "keep"), "unheard_speech": ("remove", "keep")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name}: found {getattr(self, name)!r}, expected one of {', '.join(allowed)}")


class EndOfDocument:
    """Stands between the segments of one document and those of the next."""


END: Final = EndOfDocument()
Event = str | EndOfDocument


class DataFault(Exception):
    """The rest of a file cannot be read as text; `args` are the reason to count it under and a detail to show."""


class Faults:
    """Counts what a reader skips, by reason, and names the first few of each reason in the log."""

    def __init__(self, source: str, skipped: Counter[str]):
        self.source = source
        self._skipped = skipped
        self._seen: Counter[str] = Counter()

    def skip(self, reason: str, detail: object = "") -> None:
        self._skipped[reason] += 1
        self._seen[reason] += 1
        if self._seen[reason] <= NAMED_PER_REASON:
            logger.warning("%s: skipped: %s%s", self.source, reason, f" ({detail})" if detail != "" else "")
        if self._seen[reason] == NAMED_PER_REASON:
            logger.warning("%s: further cases of %r are counted, not named", self.source, reason)


class CorpusFormat(Protocol):
    """One layout of text in a file."""

    splittable: bool  # whether a plain file may be read in byte ranges

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        """Whether `line`, which follows the line `previous`, begins a document; asked of splittable formats only."""

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        """Segments in the order of the text; END behind the last segment of each document.

        Raises:
          DataFault: nothing behind this place can be read; the document begun is given up.
        """


def bounded_lines(stream: BinaryIO, max_bytes: int, faults: Faults) -> Iterator[bytes]:
    """Lines with their line ends, at most `max_bytes` each; a longer one is skipped piece by piece, and counted."""
    while line := stream.readline(max_bytes + 1):
        if len(line) <= max_bytes:
            yield line
            continue
        faults.skip("line over the limit", f"more than {max_bytes} bytes, begins {line[:24]!r}")
        while line and not line.endswith(b"\n"):
            line = stream.readline(1 << 20)


def decoded_lines(stream: BinaryIO, max_bytes: int, faults: Faults) -> Iterator[str]:
    """Lines as text; a line that is not UTF-8 is skipped and counted."""
    for line in bounded_lines(stream, max_bytes, faults):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            faults.skip("line not UTF-8", f"byte 0x{line[error.start]:02x} in {line[:24]!r}")
