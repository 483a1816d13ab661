"""Small files of the output folder, on a local disk or gs://: whole or not at all."""

import json
import os
from typing import Any

import tensorflow as tf

from kosplinter_common.cli import InputError
from kosplinter_common.files import JSON_ERRORS


def is_utf8(path: str) -> bool:
    """Whether TensorFlow can be given this path; Python can hold others, of file systems that know bytes only."""
    return path == path.encode(errors="ignore").decode()


def join(folder: str, name: str) -> str:
    return os.path.join(folder, name)


def write_bytes(path: str, data: bytes) -> None:
    """Writes beside `path`, then renames."""
    partial = join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.partial")
    try:
        with tf.io.gfile.GFile(partial, "wb") as file:
            file.write(data)
        tf.io.gfile.rename(partial, path, overwrite=True)
    except BaseException:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.remove(partial)
        raise


def write_json(path: str, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    write_bytes(path, text.encode(errors=JSON_ERRORS))


def read_text(path: str) -> str:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read().decode("utf-8")


def read_json(path: str) -> dict[str, Any]:
    """Raises:
    InputError: broken JSON, or JSON that is no object.
    """
    try:
        values = json.loads(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: broken JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: found {type(values).__name__}, expected a JSON object")
    return values


def copy(source: str, target: str) -> None:
    tf.io.gfile.copy(source, target, overwrite=True)
