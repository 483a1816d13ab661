"""Tensors of a checkpoint, read one at a time: TensorFlow, safetensors, state dicts, averages of several."""

import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from finetuning.conversion.names import Shape
from kosplinter_common.cli import InputError
from kosplinter_common.files import path_without_wildcards, refusing_code

Array = npt.NDArray[np.float32]

SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"


class TensorReader(Protocol):
    """A checkpoint's tensors; nothing but names and shapes stays in memory."""

    path: str
    shapes: dict[str, Shape]

    def read(self, name: str) -> Array: ...


class TensorFlowReader:
    """One TensorFlow checkpoint, named by its prefix.

    Raises:
      InputError: it cannot be opened, or (on reading) is damaged or cut off.
    """

    def __init__(self, prefix: str | Path) -> None:
        import tensorflow as tf

        self.path = str(prefix)
        # the reader turns what the C++ side says into all of these
        self._errors = (tf.errors.OpError, RuntimeError, ValueError, IndexError)
        try:
            self._reader = tf.train.load_checkpoint(path_without_wildcards(self.path))
        except self._errors as error:
            raise InputError(f"{self.path}: not a TensorFlow checkpoint, or damaged: {error}") from error
        self.shapes = {name: tuple(shape) for name, shape in self._reader.get_variable_to_shape_map().items()}

    def read(self, name: str) -> Array:
        try:
            return np.asarray(self._reader.get_tensor(name), np.float32)
        except self._errors as error:
            raise InputError(f"{self.path}: {name} cannot be read, damaged or cut off: {error}") from error


class SafetensorsReader:
    """One or several safetensors files.

    Raises:
      InputError: a file is damaged or cut off.
    """

    def __init__(self, path: str | Path, files: Iterable[Path]) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = str(path)
        self.shapes: dict[str, Shape] = {}
        self._files = {}
        for file in files:
            try:
                opened = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise InputError(f"{file}: not a safetensors file, or cut off: {error}") from error
            for name in opened.keys():  # noqa: SIM118 (not a dict)
                self._files[name] = opened
                self.shapes[name] = tuple(opened.get_slice(name).get_shape())

    def read(self, name: str) -> Array:
        return self._files[name].get_tensor(name).float().numpy()


class StateDictReader:
    """A pickled PyTorch state dict, mapped from disk. Only tensors are unpickled, never code.

    Raises:
      InputError: the file holds anything but tensors, or is damaged or cut off.
    """

    def __init__(self, path: Path) -> None:
        import torch

        self.path = str(path)
        # only the zip form (PyTorch 1.6 and later) can be mapped
        mapped = zipfile.is_zipfile(path)
        try:
            with refusing_code(path):
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except InputError:
            raise
        except (RuntimeError, EOFError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path}: refused: not a state dict of tensors alone, or damaged: {reason}") from error
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise InputError(f"{path}: found {type(state).__name__}, expected a state dict of tensors")
        self._state = state
        self.shapes = {name: tuple(value.shape) for name, value in state.items()}

    def read(self, name: str) -> Array:
        return self._state[name].float().numpy()


class AveragingReader:
    """The mean of several checkpoints of one model, tensor by tensor.

    Raises:
      InputError: a checkpoint's names or shapes differ from the last one's.
    """

    def __init__(self, readers: list[TensorFlowReader]) -> None:
        self._readers = readers
        self.path = readers[-1].path
        self.shapes = readers[-1].shapes
        for reader in readers[:-1]:
            differing = sorted(name for name, _ in reader.shapes.items() ^ self.shapes.items())
            if differing:
                raise InputError(f"{reader.path}: {differing[0]}: differs from {self.path}, so they have no average")

    def read(self, name: str) -> Array:
        total = np.zeros(self.shapes[name], np.float64)
        for reader in self._readers:
            total += reader.read(name)
        return (total / len(self._readers)).astype(np.float32)


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint's tensors lie. kind: "tensorflow" or "torch"; folder: what may lie beside it."""

    kind: str
    path: Path
    folder: Path


def locate(path: str) -> Checkpoint:
    """Finds the checkpoint meant by a folder, a prefix, model.ckpt-N, a `checkpoint` file or a PyTorch file.

    Raises:
      InputError: nothing there, or more than one checkpoint with nothing to choose by.
    """
    place = Path(path)
    if place.is_dir():
        return _locate_in_folder(place)
    if place.is_file() and place.name == "checkpoint":
        return Checkpoint("tensorflow", _latest(place), place.parent)
    if place.is_file() and place.suffix in (".bin", ".pt", ".pth", ".safetensors"):
        return Checkpoint("torch", place, place.parent)
    prefix = Path(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path))
    if not prefix.with_name(prefix.name + ".index").is_file():
        raise InputError(
            f"{path}: no checkpoint there: expected a folder, a prefix with {prefix.name}.index beside it, "
            "a `checkpoint` file, or a .safetensors or .bin file"
        )
    return Checkpoint("tensorflow", prefix, prefix.parent)


def _locate_in_folder(folder: Path) -> Checkpoint:
    if (folder / "checkpoint").is_file():
        return Checkpoint("tensorflow", _latest(folder / "checkpoint"), folder)
    for name in (SAFETENSORS_FILE, SAFETENSORS_FILE + ".index.json", PICKLE_FILE):
        if (folder / name).is_file():
            return Checkpoint("torch", folder / name, folder)
    candidates = sorted(folder.glob("*.index")) + sorted(folder.glob("*.bin"))
    if len(candidates) != 1:
        found = ", ".join(candidate.name for candidate in candidates) or "none"
        raise InputError(f"{folder}: found {found}, expected one checkpoint, or a `checkpoint` file that names one")
    (only,) = candidates
    if only.suffix == ".index":
        return Checkpoint("tensorflow", only.with_suffix(""), folder)
    return Checkpoint("torch", only, folder)


def _latest(state_file: Path) -> Path:
    match = re.search(r'^model_checkpoint_path: "(.+)"$', state_file.read_text(encoding="utf-8"), re.MULTILINE)
    if not match:
        raise InputError(f"{state_file}: found no model_checkpoint_path, expected the name of the latest checkpoint")
    # a name inside the folder, even where the folder has moved since
    named = state_file.parent / match.group(1)
    prefix = named if named.with_name(named.name + ".index").is_file() else state_file.parent / named.name
    if not prefix.with_name(prefix.name + ".index").is_file():
        raise InputError(f"{state_file}: it names {match.group(1)}, but {prefix}.index is not there")
    return prefix


def check_output(output: str, checkpoint: Checkpoint, marker: str) -> None:
    """Keeps a conversion from taking the place of anything but an earlier conversion.

    Args:
      marker: a file that every output of this kind has.

    Raises:
      InputError: `output` holds the checkpoint, or files but no `marker`.
    """
    place, source = Path(output).resolve(), checkpoint.folder.resolve()
    if place == source or place in source.parents:
        raise InputError(f"{output}: the checkpoint {checkpoint.path} lies in it; name another folder to write to")
    if place.exists() and (not place.is_dir() or (any(place.iterdir()) and not (place / marker).is_file())):
        raise InputError(f"{output}: exists and is no earlier conversion (found no {marker}); name another folder")


def open_reader(checkpoint: Checkpoint, average_last: int = 1) -> TensorReader:
    """Opens a located checkpoint; with average_last > 1 the mean of that many, up to the one located.

    Raises:
      InputError: fewer checkpoints than asked for, or a damaged file.
    """
    if checkpoint.kind == "tensorflow":
        if average_last == 1:
            return TensorFlowReader(checkpoint.path)
        return AveragingReader([TensorFlowReader(prefix) for prefix in _last_prefixes(checkpoint.path, average_last)])
    if average_last != 1:
        raise InputError(
            f"{checkpoint.path}: only TensorFlow checkpoints are averaged: found average_last={average_last}"
        )
    if checkpoint.path.suffix in (".bin", ".pt", ".pth"):
        return StateDictReader(checkpoint.path)
    if checkpoint.path.suffix == ".json":
        shards = set(json.loads(checkpoint.path.read_text(encoding="utf-8"))["weight_map"].values())
        return SafetensorsReader(checkpoint.path, [checkpoint.folder / shard for shard in sorted(shards)])
    return SafetensorsReader(checkpoint.path, [checkpoint.path])


def _last_prefixes(prefix: Path, count: int) -> list[Path]:
    match = re.fullmatch(r"(.+-)(\d+)", prefix.name)
    if count < 1 or not match:
        raise InputError(
            f"{prefix}: average_last={count}: expected 1 or more, and a checkpoint named like model.ckpt-1000"
        )
    steps = {}
    for index in prefix.parent.glob("*.index"):
        other = re.fullmatch(re.escape(match.group(1)) + r"(\d+)", index.stem)
        if other and int(other.group(1)) <= int(match.group(2)):
            steps[int(other.group(1))] = index.with_suffix("")
    if len(steps) < count:
        raise InputError(
            f"{prefix}: average_last={count}: found {len(steps)} checkpoints up to this one, expected {count}"
        )
    return [steps[step] for step in sorted(steps)[-count:]]
