"""Files: output that appears whole or not at all (written beside its place, then renamed), JSON input, and sums."""

import atexit
import functools
import hashlib
import json
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kosplinter_common.cli import InputError

# For JSON in UTF-8 with file names whose bytes are not: such a byte becomes an escape that JSON readers give back.
JSON_ERRORS = "backslashreplace"
_WILDCARDS = "*?[\\"


def _beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


@contextmanager
def atomic_file(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Gives a path beside `path` to write to; renames it into place unless the block raises.

    durable: whether the file's bytes and its name are on the disk, not only in memory, when the block is left.
    """
    partial = _beside(Path(path))
    try:
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, path)
        if durable:
            _sync(partial.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Gives an empty folder beside `path` to fill; it takes the place of `path` unless the block raises."""
    path = Path(path)
    partial, previous = _beside(path), path.with_name(f".{path.name}.{os.getpid()}.previous")
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            os.replace(path, previous)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)


def path_without_wildcards(path: str) -> str:
    """A path to the same place in whose name TensorFlow finds no pattern: `path` itself, or a link that ends with us.

    TensorFlow looks for the files of a checkpoint by glob, with the checkpoint's own path as the pattern.
    """
    if "://" in path or not any(character in path for character in _WILDCARDS):
        return path
    folder, name = os.path.split(os.path.abspath(path))
    if any(character in name for character in _WILDCARDS):
        folder, name = os.path.join(folder, name), ""
    return os.path.join(_link_to(folder), name)


@functools.cache
def _link_to(folder: str) -> str:
    links = tempfile.mkdtemp(prefix="kosplinter-")
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    link = os.path.join(links, "".join("_" if c in _WILDCARDS else c for c in os.path.basename(folder)))
    os.symlink(folder, link)
    return link


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file; `what` says what a missing one should have held ("a config").

    Raises:
      InputError: no such file, broken JSON, or JSON that is no object.
    """
    if not path.is_file():
        raise InputError(f"{path}: not found, expected {what}")
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path}: broken JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: found {type(values).__name__}, expected a JSON object")
    return values


@contextmanager
def refusing_code(place: str | Path) -> Iterator[None]:
    """Turns what torch says of a pickle that holds more than tensors, or none at all, into an InputError of one line.

    Its own words tell how to load the file nevertheless, and with it whatever program it holds.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        found = f"the program {named[1]}" if named else "no pickle of tensors"
        raise InputError(f"{place}: refused: found {found}, expected tensors alone (safe as .safetensors)") from error


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()  # not file_digest: TPU VM images have Python 3.10
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
