"""Bytes of a unit of work: local or remote files, compressed or not, whole or in part, members of archives."""

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple, cast

from backports import zstd

from kosplinter_common.cli import InputError

HEAD_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20

_DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
}
# What cannot be read, by its first bytes, and what a person may do about it.
_UNPACK = "unpack it first"
_EXPORT = "save its text as .txt, .csv or .json first"
_FOREIGN = {
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", _UNPACK),
    b"ALZ\x01": ("an ALZ archive", _UNPACK),
    b"EGGA": ("an EGG archive", _UNPACK),
    b"\x1f\x9d": ("packed by compress", _UNPACK),
    b"\x04\x22\x4d\x18": ("packed by lz4", _UNPACK),
    b"PK\x07\x08PK": ("a part of a split zip archive", "join its parts first"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an Office or HWP document", _EXPORT),
    b"HWP Document File": ("an HWP document", _EXPORT),
    b"%PDF-": ("a PDF document", _EXPORT),
    b"{\\rtf": ("an RTF document", _EXPORT),
    b"PAR1": ("a Parquet file", _EXPORT),
    b"ARROW1": ("an Arrow file", _EXPORT),
    b"SQLite format 3": ("an SQLite database", _EXPORT),
    b"\x89PNG": ("a picture", "leave it out"),
    b"\xff\xd8\xff": ("a picture", "leave it out"),
    b"RIFF": ("a recording", "leave it out"),
    b"ID3": ("a recording", "leave it out"),
    b"version https://git-lfs": ("a Git LFS pointer", "fetch the file itself: git lfs pull"),
}
# Members by which a zip is known as a document of an office program.
_OFFICE_MEMBERS = {"[Content_Types].xml": "an Office document", "mimetype": "an OpenDocument or HWPX document"}
_SYSTEM_FILE = re.compile(r"(?:^|/)(?:__MACOSX/.*|\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)$")
_SPLIT_PART = re.compile(r"\.(?:part\d+|z\d\d|\d{3})$", re.IGNORECASE)
_LOCKED_FLAG, _UTF8_FLAG = 0x1, 0x800  # of a zip member

_DAMAGE = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zstd.ZstdError,
    zipfile.BadZipFile,
    tarfile.TarError,
    NotImplementedError,
)


class UnreadableFile(InputError):
    """A file, or an archive's member, is what cannot be read, or is damaged; others may be sound.

    name: of the file, behind which the message says what is wrong.
    """

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turns what goes wrong with a file or archive into an InputError that names it.

    Raises:
      UnreadableFile: its content is damaged.
      InputError: the machine does not give it.
    """
    try:
        yield
    except _DAMAGE as error:
        raise UnreadableFile(name, _damage(name, error)) from error
    except OSError as error:
        if error.errno is None:  # said by a decompressor, not by the machine
            raise UnreadableFile(name, _damage(name, error)) from error
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error


def _damage(name: str, error: Exception) -> str:
    hint = "; a part of a split archive? join the parts in their order first" if _SPLIT_PART.search(name) else ""
    return f"damaged, truncated or locked archive: {error or type(error).__name__}{hint}"


def foreign(head: bytes) -> str | None:
    """What a file of no text is, by its first bytes, and what to do about it."""
    for magic, (what, advice) in _FOREIGN.items():
        if head.startswith(magic) and (not magic.isalnum() or b"\0" in head):  # letters may begin a text, too
            return f"{what}: {advice}"
    return None


def open_file(path: str) -> BinaryIO:
    """A seekable stream; paths such as gs://… and s3://… go through Apache Beam's file systems."""
    if "://" not in path:
        return open(path, "rb")
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    return cast(BinaryIO, FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED))


class _Slice(io.RawIOBase):
    """Bytes from `start` up to `end` of a stream, which has them all."""

    def __init__(self, stream: BinaryIO, start: int, end: int):
        stream.seek(start)
        self._stream, self._left = stream, end - start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        chunk = self._stream.read(min(len(buffer), self._left))
        if self._left and not chunk:
            raise EOFError(f"{self._left} bytes are missing at its end")
        buffer[: len(chunk)] = chunk
        self._left -= len(chunk)
        return len(chunk)


def buffered(stream: BinaryIO, start: int = 0, end: int | None = None) -> io.BufferedReader:
    """The stream, or the part of it from `start` to `end`, behind a buffer that can be peeked into."""
    if end is not None:
        return io.BufferedReader(_Slice(stream, start, end), _BUFFER_BYTES)
    stream.seek(start)
    return io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER_BYTES)


def peek(stream: io.BufferedReader) -> bytes:
    """Up to HEAD_BYTES that come next, without reading past them."""
    return stream.peek(HEAD_BYTES)[:HEAD_BYTES]


def is_zip(head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_tar(head: bytes) -> bool:
    """Whether a tar header with a right checksum stands at the beginning."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def is_compressed(head: bytes) -> bool:
    return head.startswith(tuple(_DECOMPRESSORS))


def decompressed(stream: io.BufferedReader) -> io.BufferedReader:
    """The stream unpacked, if its first bytes are those of gzip, bzip2, xz or zstandard; else the stream itself."""
    head = peek(stream)
    for magic, opener in _DECOMPRESSORS.items():
        if head.startswith(magic):
            return io.BufferedReader(cast(io.RawIOBase, opener(stream)), _BUFFER_BYTES)
    return stream


class Member(NamedTuple):
    """A file in an archive: its name, and its first byte and end there; of a zip, of its header, and None."""

    name: str
    start: int
    end: int | None


def zip_members(stream: BinaryIO) -> Iterator[Member]:
    """The files of a zip; several may have one name.

    Raises:
      UnreadableFile: it is a document of an office program.
    """
    with zipfile.ZipFile(stream) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    for info in infos:
        if info.filename in _OFFICE_MEMBERS:
            raise UnreadableFile("", f"{_OFFICE_MEMBERS[info.filename]}: {_EXPORT}")
    for info in infos:
        if not _SYSTEM_FILE.search(info.filename):
            yield Member(_name(info), info.header_offset, None)


def _name(info: zipfile.ZipInfo) -> str:
    """The member's name; of those without a mark for UTF-8, Korean programs wrote CP949."""
    if info.flag_bits & _UTF8_FLAG:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("cp949")
    except UnicodeError:
        return info.filename


@contextmanager
def opened_zip_member(path: str, member: str, start: int) -> Iterator[io.BufferedReader]:
    # Of the process too: a file position inherited from a parent process would be shared with its other children.
    version = (os.getpid(), *(() if "://" in path else (os.stat(path).st_size, os.stat(path).st_mtime_ns)))
    archive, by_offset = _zip_archive(path, version)
    with _opened_info(archive, by_offset.get(start), member) as unpacked:
        yield unpacked


@contextmanager
def _opened_info(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, member: str) -> Iterator[io.BufferedReader]:
    if info is None or _name(info) != member:
        raise zipfile.BadZipFile("not there any more")
    if info.flag_bits & _LOCKED_FLAG:
        raise zipfile.BadZipFile("locked by a password")
    with archive.open(info) as unpacked:
        yield io.BufferedReader(cast(io.RawIOBase, unpacked), _BUFFER_BYTES)


@lru_cache(maxsize=1)
def _zip_archive(path: str, version: tuple[int, ...]) -> tuple[zipfile.ZipFile, dict[int, zipfile.ZipInfo]]:
    """The archive, whose list of members is read once for all of them: there may be 100,000."""
    archive = zipfile.ZipFile(open_file(path) if "://" in path else path)
    return archive, {info.header_offset: info for info in archive.infolist()}


def inner_zip_members(stream: io.BufferedReader) -> Iterator[tuple[str, AbstractContextManager[io.BufferedReader]]]:
    """Names and contents of a zip that lies in another archive; it is laid down on the disk, to jump in."""
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, _BUFFER_BYTES)
        copy.seek(0)
        members = list(zip_members(copy))
        with zipfile.ZipFile(copy) as archive:
            by_offset = {info.header_offset: info for info in archive.infolist()}
            for member in members:
                yield member.name, _opened_info(archive, by_offset[member.start], member.name)


def tar_members(stream: BinaryIO) -> Iterator[Member]:
    """The regular files of a tar that is not compressed."""
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for info in archive:
            if info.isfile() and not _SYSTEM_FILE.search(info.name):
                yield Member(info.name, info.offset_data, info.offset_data + info.size)


def streamed_tar_members(stream: BinaryIO) -> Iterator[tuple[str, io.BufferedReader]]:
    """The regular files of a tar that can only be read forwards; each is read before the next is asked for."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for info in archive:
            unpacked = archive.extractfile(info) if info.isfile() and not _SYSTEM_FILE.search(info.name) else None
            if unpacked is not None:
                yield info.name, io.BufferedReader(cast(io.RawIOBase, unpacked), _BUFFER_BYTES)
