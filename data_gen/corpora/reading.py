"""Corpora as documents: files are planned into units of work, and each unit is read as a stream in bounded memory.

Faults of the data are skipped, counted by reason and named in the log. A file or an archive that cannot be read to
its end is an InputError that names it, so that nothing is lost unnoticed.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from data_gen.corpora import sources
from data_gen.corpora.base import CorpusFormat, DataFault, EndOfDocument, Event, Faults, ReaderOptions
from data_gen.corpora.cleaning import clean_text
from data_gen.corpora.detection import CORPUS_FORMATS, DOCUMENT_PER_LINE, FORMATS, choose_format
from kosplinter_common.cli import InputError

__all__ = ["CORPUS_FORMATS", "Document", "ReaderOptions", "Unit", "plan_units", "read_unit"]

_LINE_PIECE_BYTES = 1 << 20
_PARAGRAPH_BREAK = re.compile("[\r\n\u2028\u2029]+")
_UTF8_MARK = b"\xef\xbb\xbf"


class Document(NamedTuple):
    segments: list[str]  # clean, one line each, none empty
    continues_last: bool = False  # the rest of a document too long to be one
    ends_at_blank_line: bool = False  # and nowhere else: plain text


@dataclass(frozen=True)
class Unit:
    """A part of the input that one worker reads: a file, an archive's member, or a byte range of a large plain file."""

    path: str
    member: str | None  # of a zip or tar; a compressed tar is one unit, read in one pass
    format: str  # a name of readers_detection.FORMATS, or "auto": judged where the unit is read
    start: int  # bytes of the file, as stored
    end: int | None  # None: to the end

    @property
    def name(self) -> str:
        part = f"[{self.start}:{self.end}]" if self.start and self.member is None else ""
        return self.path + part + (f"!{self.member}" if self.member is not None else "")


def plan_units(
    files: list[str], corpus_format: str = "auto", unit_bytes: int = 64 << 20, document_per_line: bool = False
) -> list[Unit]:
    """Units in the order of `files`; every document is in exactly one.

    Large plain files of line-based formats are cut about every `unit_bytes`, at the beginning of a document. The plan
    depends on the files' content and on these arguments only. `document_per_line` as in ReaderOptions.

    Raises:
      InputError: a file cannot be read, or the format is unknown.
    """
    if corpus_format not in CORPUS_FORMATS:
        raise InputError(f"corpus_format: found {corpus_format!r}, expected one of {', '.join(CORPUS_FORMATS)}")
    if unit_bytes < 1:
        raise InputError(f"unit_bytes: found {unit_bytes}, expected at least 1")
    return [unit for path in files for unit in _file_units(path, corpus_format, unit_bytes, document_per_line)]


def _file_units(path: str, corpus_format: str, unit_bytes: int, document_per_line: bool) -> list[Unit]:
    with sources.naming(path), sources.open_file(path) as stream:
        head = stream.read(sources.HEAD_BYTES)
        if sources.is_zip(head):
            return [Unit(path, member, corpus_format, 0, None) for member in sources.zip_members(stream)]
        if sources.is_tar(head):
            stream.seek(0)
            return [Unit(path, name, corpus_format, start, end) for name, start, end in sources.tar_members(stream)]
        bounds = [0]
        if not sources.is_compressed(head):
            chosen = choose_format(corpus_format, head)
            if chosen is not None and FORMATS[chosen].splittable:
                corpus_format = chosen
                bounds += _document_starts(stream, _format(chosen, document_per_line), unit_bytes)
        ends: list[int | None] = [*bounds[1:], None]
        return [Unit(path, None, corpus_format, start, end) for start, end in zip(bounds, ends, strict=True)]


def _format(name: str, document_per_line: bool) -> CorpusFormat:
    return (document_per_line and DOCUMENT_PER_LINE.get(name)) or FORMATS[name]


def _document_starts(stream: BinaryIO, corpus_format: CorpusFormat, unit_bytes: int) -> Iterator[int]:
    """Offsets of documents, each the first at or behind a multiple of `unit_bytes` that no earlier one has passed."""
    size, target = stream.seek(0, io.SEEK_END), unit_bytes
    while target < size:
        start = _next_document(stream, target, corpus_format)
        if start is None:
            return
        yield start
        target = (start // unit_bytes + 1) * unit_bytes


def _next_document(stream: BinaryIO, offset: int, corpus_format: CorpusFormat) -> int | None:
    stream.seek(offset)
    reader = io.BufferedReader(stream, _LINE_PIECE_BYTES)  # type: ignore[type-var]
    try:
        whole = False  # the line that `offset` falls into may have begun earlier, so it is not judged
        previous: bytes | None = None
        while line := reader.readline(_LINE_PIECE_BYTES):
            if previous is not None and corpus_format.starts_document(previous, line):
                return offset
            offset += len(line)
            previous = line if whole and line.endswith(b"\n") else None
            whole = line.endswith(b"\n")
        return None
    finally:
        reader.detach()  # the file stays open


def read_unit(unit: Unit, options: ReaderOptions, skipped: Counter[str]) -> Iterator[Document]:
    """The documents of one unit, in order; what is skipped is added to `skipped` under its reason.

    Raises:
      InputError: the file or archive member cannot be read to its end.
    """
    with sources.naming(unit.path, unit.member), _opened(unit) as stream:
        unpacked = sources.decompressed(stream)
        if sources.is_tar(sources.peek(unpacked)):
            if unit.member is not None:
                Faults(unit.name, skipped).skip("archive inside an archive")
                return
            for member, content in sources.streamed_tar_members(unpacked):
                with sources.naming(unit.path, member):
                    part = Unit(unit.path, member, unit.format, 0, None)
                    yield from _read_stream(part, sources.decompressed(content), options, skipped)
        else:
            yield from _read_stream(unit, unpacked, options, skipped)


@contextmanager
def _opened(unit: Unit) -> Iterator[io.BufferedReader]:
    if unit.member is not None and unit.end is None:
        with sources.opened_zip_member(unit.path, unit.member) as unpacked:
            yield unpacked
    else:
        with sources.open_file(unit.path) as stream:
            yield sources.buffered(stream, unit.start, unit.end)


def _read_stream(
    unit: Unit, stream: io.BufferedReader, options: ReaderOptions, skipped: Counter[str]
) -> Iterator[Document]:
    faults = Faults(unit.name, skipped)
    head = sources.peek(stream)
    further_part = unit.member is None and unit.start > 0  # of a file that was judged by its beginning
    chosen = unit.format if further_part else choose_format(unit.format, head)
    if not head:
        faults.skip("empty file")
    elif sources.is_zip(head):
        faults.skip("archive inside an archive")
    elif chosen is None:
        faults.skip("not UTF-8 text", f"begins {head[:16]!r}")
    else:
        if head.startswith(_UTF8_MARK):
            stream.read(len(_UTF8_MARK))
        events = _format(chosen, options.document_per_line).events(stream, options, faults)
        yield from _documents(events, options, faults, chosen in DOCUMENT_PER_LINE)


def _documents(
    events: Iterable[Event], options: ReaderOptions, faults: Faults, end_at_blank_lines: bool
) -> Iterator[Document]:
    segments: list[str] = []
    characters, cut = 0, False
    try:
        for event in events:
            if isinstance(event, EndOfDocument):
                if segments:
                    yield Document(segments, cut, end_at_blank_lines)
                elif not cut:
                    faults.skip("document without text")
                segments, characters, cut = [], 0, False
                continue
            for line in _PARAGRAPH_BREAK.split(event):
                if segment := clean_text(line):
                    segments.append(segment)
                    characters += len(segment)
            if characters >= options.max_document_characters:
                yield Document(segments, cut, end_at_blank_lines)
                segments, characters, cut = [], 0, True
    except DataFault as fault:
        faults.skip(*fault.args)
