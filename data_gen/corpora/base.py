"""What every corpus format shares: its options, the faults it may count, and how it hands over text."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, Protocol

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


UTF8_MARK = b"\xef\xbb\xbf"
BYTES_UNREAD = "bytes unread in broken JSON"  # a sum of bytes among the counts of faults


class DataFault(Exception):
    """The rest of a file cannot be read as text; `args` are the reason to count it under and a detail to show."""


class Faults:
    """Counts what a reader skips, by reason, and names the first few of each reason in the log."""

    def __init__(self, source: str, skipped: Counter[str]):
        self.source = source
        self._skipped = skipped
        self._seen: Counter[str] = Counter()

    def skip_bytes(self, reason: str, detail: object, place: tuple[int, int], num_bytes: int) -> None:
        """Skips bytes behind `place`: the bytes and the line ends before it."""
        self._skipped[BYTES_UNREAD] += num_bytes
        at_byte, lines_before = place
        self.skip(reason, f"{detail}, at byte {at_byte}, line {lines_before + 1}: {num_bytes} bytes unread")

    def skip(self, reason: str, detail: object = "") -> None:
        self._skipped[reason] += 1
        self._seen[reason] += 1
        if self._seen[reason] <= NAMED_PER_REASON:
            shown = str(detail).encode(errors="backslashreplace").decode()  # bytes that were no UTF-8 are in it too
            logger.warning("%s: skipped: %s%s", self.source, reason, f" ({shown})" if shown else "")
        if self._seen[reason] == NAMED_PER_REASON:
            logger.warning("%s: further cases of %r are counted, not named", self.source, reason)


_NAMED_FILES = 20  # in one message; dataset.json names all
# Reasons for which a file may give no document without a loss.
NO_TEXT = ("empty file", "document without text")
_NOTHING_FOUND = "no text"


@dataclass
class FileLog:
    """What became of whole files; an archive's member is a file, named archive!member.

    decoded: files that were in another encoding than UTF-8, by encoding.
    documents: of files without any, and of those that several units of work share.
    reasons: why those gave no document, or none in one of the units.
    unreadable: what is wrong with files that were lost, or from some place on.
    """

    decoded: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, documents: int, skipped: Counter[str], is_part: bool) -> None:
        """Notes a file, or a part of one, that was read to its end."""
        if documents and not is_part:
            return
        self.documents[name] += documents
        if not documents and skipped:
            self.reasons[name] = ", ".join(reason for reason in skipped if reason != BYTES_UNREAD)

    def update(self, values: dict[str, Any]) -> None:
        """Adds what another log holds, in the form of `as_dict`."""
        self.decoded.update(values["decoded"])
        for name, count in values["documents"].items():  # not update: that would lose the zeros
            self.documents[name] += count
        self.reasons.update(values["reasons"])
        self.unreadable.update(values["unreadable"])

    def as_dict(self) -> dict[str, dict[str, Any]]:
        return {name: dict(value) for name, value in vars(self).items()}

    @property
    def has_losses(self) -> bool:
        return bool(self.summary()["unreadable"])

    def summary(self) -> dict[str, Any]:
        """What dataset.json says: files decoded, files without a document and why, files that were lost and why."""
        without = {
            name: self.reasons.get(name, _NOTHING_FOUND)
            for name, count in self.documents.items()
            if not count and name not in self.unreadable
        }
        harmless = {*NO_TEXT, _NOTHING_FOUND}
        lost = {name: reason for name, reason in without.items() if not set(reason.split(", ")) <= harmless}
        return {
            "decoded": dict(self.decoded),
            "without_documents": {name: reason for name, reason in without.items() if name not in lost},
            "unreadable": self.unreadable | lost,
        }


def name_files(reasons: dict[str, str]) -> str:
    """Files and what is said of each, the first of them by name."""
    named = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:_NAMED_FILES])
    more = len(reasons) - _NAMED_FILES
    return f"{named}; and {more} more" if more > 0 else named


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
