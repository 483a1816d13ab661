"""Corpora as documents: files are planned into units of work, and each unit is read as a stream in bounded memory.

Faults of the data are skipped, counted by reason and named in the log. A file, or an archive's member, that cannot be
read, or not to its end, is named in the caller's FileLog, or is an error, so that nothing is lost unnoticed.
"""

import io
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from data_gen.corpora import sources
from data_gen.corpora.base import (
    UTF8_MARK,
    CorpusFormat,
    DataFault,
    EndOfDocument,
    Event,
    Faults,
    FileLog,
    ReaderOptions,
    name_files,
)
from data_gen.corpora.cleaning import clean_text
from data_gen.corpora.detection import CORPUS_FORMATS, DOCUMENT_PER_LINE, FORMATS, choose_format
from data_gen.corpora.encodings import CP949, UTF8, as_utf8, text_encoding
from data_gen.corpora.sources import UnreadableFile
from kosplinter_common.cli import InputError

__all__ = ["CORPUS_FORMATS", "Document", "FileLog", "ReaderOptions", "Unit", "name_files", "plan_units", "read_unit"]

logger = logging.getLogger(__name__)

_MAX_DEPTH = 1  # of archives around an archive that is opened
_LINE_PIECE_BYTES = 1 << 20
_PARAGRAPH_BREAK = re.compile("[\r\n\u2028\u2029]+")


class Document(NamedTuple):
    segments: list[str]  # clean, one line each, none empty
    continues_last: bool = False  # the rest of a document too long to be one
    ends_at_blank_line: bool = False  # and nowhere else: plain text


@dataclass(frozen=True)
class Unit:
    """A part of the input that one worker reads: a file, an archive's member, or a byte range of a large plain file."""

    path: str
    member: str | None  # of a zip or tar; a compressed tar is one unit, read in one pass
    format: str  # a name of detection.FORMATS, or what was asked for: judged where the unit is read
    start: int  # byte of the file, as stored; of a zip's member, where its header stands
    end: int | None  # None: to the end
    encoding: str | None = None  # of a byte range; None: judged where the unit is read
    damage: str = ""  # of an archive, when the units were planned: nothing can be read

    @property
    def name(self) -> str:
        """Of the unit, for messages."""
        part = f"[{self.start}:{self.end or ''}]" if self.is_part else ""
        return self.file_name + part

    @property
    def file_name(self) -> str:
        """The file, or the archive and its member."""
        return self.path if self.member is None else f"{self.path}!{self.member}"

    @property
    def is_part(self) -> bool:
        return self.member is None and (self.start > 0 or self.end is not None)


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
        if sources.is_zip(head) or sources.is_tar(head):
            stream.seek(0)
            members = sources.zip_members(stream) if sources.is_zip(head) else sources.tar_members(stream)
            return list(_member_units(path, members, corpus_format))
        bounds, encoding = [0], None
        if not sources.is_compressed(head) and not sources.foreign(head):
            encoding = text_encoding(head)
            chosen = choose_format(corpus_format, head, encoding)
            # A line end of UTF-8 and CP949 is never a part of another character.
            if chosen is not None and FORMATS[chosen].splittable and encoding in (UTF8, CP949):
                corpus_format = chosen
                bounds += _document_starts(stream, _format(chosen, document_per_line), unit_bytes)
        ends: list[int | None] = [*bounds[1:], None]
        return [Unit(path, None, corpus_format, start, end, encoding) for start, end in zip(bounds, ends, strict=True)]


def _member_units(path: str, members: Iterable[sources.Member], corpus_format: str) -> Iterator[Unit]:
    """Units of an archive's members, and one more that tells what keeps further ones from being found."""
    try:
        with sources.naming(path):
            for member in members:
                yield Unit(path, member.name, corpus_format, member.start, member.end)
    except UnreadableFile as error:
        yield Unit(path, None, corpus_format, 0, None, damage=error.reason)


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


def read_unit(
    unit: Unit, options: ReaderOptions, skipped: Counter[str], files: FileLog | None = None
) -> Iterator[Document]:
    """The documents of one unit, in order; what is skipped is added to `skipped` under its reason.

    `files` is told of files that were decoded, that gave no document, and that cannot be read.

    Raises:
      UnreadableFile: there is no `files`, and a file or an archive's member cannot be read, or not to its end.
      InputError: the machine does not give the file.
    """
    yield from _Reading(unit, options, skipped, files).documents()


class _Reading:
    """The reading of one unit."""

    def __init__(self, unit: Unit, options: ReaderOptions, skipped: Counter[str], files: FileLog | None):
        self._unit, self._options, self._skipped = unit, options, skipped
        self._is_strict, self._files = files is None, FileLog() if files is None else files

    def documents(self) -> Iterator[Document]:
        unit = self._unit
        with self._noting_damage(unit.file_name):
            if unit.damage:
                raise UnreadableFile(unit.file_name, unit.damage)
            with _opened(unit) as stream:
                yield from self._file(unit.file_name, stream, depth=int(unit.member is not None))

    @contextmanager
    def _noting_damage(self, name: str) -> Iterator[None]:
        try:
            with sources.naming(name):
                yield
        except UnreadableFile as error:
            if self._is_strict:
                raise
            logger.warning("%s: unreadable: %s", error.name or name, error.reason)
            self._skipped["unreadable file"] += 1
            self._files.unreadable[error.name or name] = error.reason

    def _file(self, name: str, stream: io.BufferedReader, depth: int) -> Iterator[Document]:
        """Documents of a file, or of the files in it if it is an archive; `depth`: how many archives lie around it."""
        stream = sources.decompressed(stream)
        head = sources.peek(stream)
        is_zip, is_tar = sources.is_zip(head), sources.is_tar(head)
        if reason := sources.foreign(head):
            raise UnreadableFile(name, reason)
        if (is_zip or is_tar) and depth > _MAX_DEPTH:
            raise UnreadableFile(name, "an archive inside an archive inside an archive: unpack one of them first")
        if is_zip:
            for member, opened in sources.inner_zip_members(stream):
                with self._noting_damage(f"{name}!{member}"), opened as content:
                    yield from self._file(f"{name}!{member}", content, depth + 1)
        elif is_tar:
            for member, content in sources.streamed_tar_members(stream):
                with self._noting_damage(f"{name}!{member}"):
                    yield from self._file(f"{name}!{member}", content, depth + 1)
        else:
            yield from self._text(name, stream, head)

    def _text(self, name: str, stream: io.BufferedReader, head: bytes) -> Iterator[Document]:
        unit, found, count = self._unit, Counter[str](), 0
        faults = Faults(unit.name if unit.is_part else name, found)
        encoding = unit.encoding or text_encoding(head)
        if encoding is None:
            raise UnreadableFile(name, f"not text in UTF-8, CP949 (EUC-KR) or UTF-16: begins {head[:16]!r}")
        further_part = unit.is_part and unit.start > 0  # of a file that was judged by its beginning
        chosen = unit.format if further_part else choose_format(unit.format, head, encoding)
        assert chosen is not None
        if encoding != UTF8 and not further_part:
            logger.info("%s: decoded from %s", name, encoding)
            self._files.decoded[encoding] += 1
        has_cr_only = b"\r" in head and b"\n" not in head
        if encoding != UTF8 or has_cr_only:
            stream = as_utf8(stream, encoding, has_cr_only)
        elif head.startswith(UTF8_MARK):
            stream.read(len(UTF8_MARK))
        try:
            if not head:
                faults.skip("empty file")
            events = _format(chosen, self._options.document_per_line).events(stream, self._options, faults)
            for document in _documents(events, self._options, faults, chosen in DOCUMENT_PER_LINE):
                yield document
                count += 1
        finally:
            self._skipped.update(found)
        self._files.read(name, count, found, unit.is_part)


@contextmanager
def _opened(unit: Unit) -> Iterator[io.BufferedReader]:
    if unit.member is not None and unit.end is None:
        with sources.opened_zip_member(unit.path, unit.member, unit.start) as unpacked:
            yield unpacked
    else:
        with sources.open_file(unit.path) as stream:
            yield sources.buffered(stream, unit.start, unit.end)


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
