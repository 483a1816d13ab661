"""Bytes of a unit of work: local or remote files, compressed or not, whole or in part, members of archives."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO, cast

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
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, zipfile.BadZipFile, tarfile.TarError)


@contextmanager
def naming(path: str, member: str | None = None) -> Iterator[None]:
    """Turns what goes wrong with a file or archive into an InputError that names it."""
    name = path if member is None else f"{path}: member {member!r}"
    try:
        yield
    except _DAMAGE as error:
        raise InputError(f"{name}: damaged, truncated or locked archive: {error or type(error).__name__}") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error


def open_file(path: str) -> BinaryIO:
    """A seekable stream; paths such as gs://… and s3://… go through Apache Beam's file systems."""
    if "://" not in path:
        return open(path, "rb")
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    return cast(BinaryIO, FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED))


class _Slice(io.RawIOBase):
    """Bytes from `start` up to `end` of a stream."""

    def __init__(self, stream: BinaryIO, start: int, end: int):
        stream.seek(start)
        self._stream, self._left = stream, end - start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        chunk = self._stream.read(min(len(buffer), self._left))
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


def zip_members(stream: BinaryIO) -> Iterator[str]:
    with zipfile.ZipFile(stream) as archive:
        yield from (info.filename for info in archive.infolist() if not info.is_dir())


@contextmanager
def opened_zip_member(path: str, member: str) -> Iterator[io.BufferedReader]:
    # Of the process too: a file position inherited from a parent process would be shared with its other children.
    version = (os.getpid(), *(() if "://" in path else (os.stat(path).st_size, os.stat(path).st_mtime_ns)))
    try:
        unpacked = _zip_archive(path, version).open(member)
    except (RuntimeError, KeyError) as error:  # encrypted, packed by a method unknown here, or not there any more
        raise zipfile.BadZipFile(str(error)) from error
    with unpacked:
        yield io.BufferedReader(cast(io.RawIOBase, unpacked), _BUFFER_BYTES)


@lru_cache(maxsize=1)
def _zip_archive(path: str, version: tuple[int, ...]) -> zipfile.ZipFile:
    """The archive, whose list of members is read once for all of them: there may be 100,000."""
    return zipfile.ZipFile(open_file(path) if "://" in path else path)


def tar_members(stream: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Name, first byte and end of each regular file of a tar that is not compressed."""
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for info in archive:
            if info.isfile():
                yield info.name, info.offset_data, info.offset_data + info.size


def streamed_tar_members(stream: BinaryIO) -> Iterator[tuple[str, io.BufferedReader]]:
    """The regular files of a tar that can only be read forwards; each is read before the next is asked for."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for info in archive:
            unpacked = archive.extractfile(info) if info.isfile() else None
            if unpacked is not None:
                yield info.name, io.BufferedReader(cast(io.RawIOBase, unpacked), _BUFFER_BYTES)
