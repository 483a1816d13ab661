"""Files on this machine or behind Apache Beam's file systems (gs://, s3://, hdfs://), by the same few calls."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from kosplinter_common.cli import InputError, expand_globs
from kosplinter_common.path_patterns import matching_paths

_AS_STORED = CompressionTypes.UNCOMPRESSED  # by their names, Beam would decompress .gz and others itself


def matching_files(patterns: str) -> list[str]:
    """Files named by comma-separated glob patterns, as expand_globs takes them, wherever they are.

    Raises:
      InputError: a pattern matches nothing, or its file system cannot be reached.
    """
    return expand_globs(patterns, exists=_exists, matching=_matches)


def _exists(path: str) -> bool:
    return _reached(FileSystems.exists, path) if "://" in path else os.path.lexists(path)


def _matches(pattern: str) -> list[str]:
    if "://" not in pattern:
        return matching_paths(pattern)
    (match,) = _reached(FileSystems.match, [pattern])
    return [metadata.path for metadata in match.metadata_list]


def _reached(ask: Callable[[Any], Any], what: Any) -> Any:
    try:
        return ask(what)
    except (BeamIOError, ValueError) as error:  # ValueError: no such file system, or its package is not installed
        raise InputError(f"{what if isinstance(what, str) else what[0]}: cannot be reached: {error}") from error


def file_size(path: str) -> int:
    return FileSystems.match([path])[0].metadata_list[0].size_in_bytes


def fetched(path: str, folder: Path) -> Path:
    """The file as one of this machine, copied into `folder` under its own name where it is remote.

    Raises:
      InputError: there is no such file.
    """
    if "://" not in path:
        return Path(path)
    local = folder / Path(path).name
    try:
        with FileSystems.open(path, compression_type=_AS_STORED) as source, open(local, "wb") as target:
            shutil.copyfileobj(source, target)
    except (BeamIOError, OSError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    return local


@contextmanager
def whole_file(path: str) -> Iterator[BinaryIO]:
    """A file to write that appears whole or not at all, even where a runner does the same work twice."""
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    with FileSystems.create(partial, mime_type="application/octet-stream", compression_type=_AS_STORED) as file:
        yield file
    FileSystems.rename([partial], [path])


def send(local: Path, path: str) -> None:
    """Copies a file of this machine to `path`, whole or not at all."""
    with open(local, "rb") as source, whole_file(path) as target:
        shutil.copyfileobj(source, target)


def make_folder(path: str) -> None:
    """Makes a folder where the file system has folders; gs:// and s3:// have none."""
    if not FileSystems.exists(path):
        FileSystems.mkdirs(path)


def remove(files: list[str], folder: str) -> None:
    """Removes these files, and the folder that held them where the file system has folders."""
    FileSystems.delete(files)
    if FileSystems.exists(folder):
        FileSystems.delete([folder])
