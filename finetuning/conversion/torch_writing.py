"""The converted folder: weights streamed to safetensors, config, modeling file."""

import dataclasses
import json
import struct
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from finetuning.conversion import names
from finetuning.conversion.dialects import Source
from finetuning.conversion.names import Shape, TorchLayout
from finetuning.conversion.tensors import SAFETENSORS_FILE, Array
from finetuning.conversion.vocabulary import PAD, QUESTION, Vocabulary
from finetuning.modeling import AUTO_MAP, ModelWithQASSHead, QASSConfig, write_modeling_file

# what transformers' Splinter classes have built into QASS, whatever the config says
STOCK_QASS_ACTIVATION = "gelu"
STOCK_QASS_LAYER_NORM_EPS = 1e-5


class Format(StrEnum):
    """What is written: this project's class, with its modeling file, or transformers' stock class.

    REMOTE is QASS by the name it had when QASS came without its file.
    """

    QASS = "qass"
    SPLINTER = "splinter"
    REMOTE = "splinter-remote"

    @property
    def layout(self) -> TorchLayout:
        return names.SPLINTER if self is Format.SPLINTER else names.QASS


def stock_obstacles(source: Source) -> list[str]:
    """Why transformers' stock Splinter is not exactly this model; empty where it is."""
    config, obstacles = source.config, []
    if config.hidden_act != STOCK_QASS_ACTIVATION:
        obstacles.append(f"hidden_act is {config.hidden_act}, stock QASS has the erf GELU ({STOCK_QASS_ACTIVATION})")
    if config.qass_layer_norm_eps != STOCK_QASS_LAYER_NORM_EPS:
        obstacles.append(
            f"QASS's epsilon is {config.qass_layer_norm_eps:g}, stock QASS has {STOCK_QASS_LAYER_NORM_EPS:g}"
        )
    return obstacles


def write_model(source: Source, format: Format, vocabulary: Vocabulary, folder: Path) -> None:
    """Writes config.json, model.safetensors and, but for Format.SPLINTER, the modeling file.

    Token types that the source lacks become zeros.
    """
    _write_config(source, format, vocabulary, folder)
    layout, shapes = format.layout, dict(source.shapes)
    token_types = (source.config.type_vocab_size, source.config.hidden_size)
    shapes.setdefault(names.TOKEN_TYPE_EMBEDDINGS, token_types)

    def tensor(tf_name: str) -> Array:
        if tf_name not in source.shapes:
            return np.zeros(token_types, np.float32)
        return layout.transpose(tf_name, source.read(tf_name))

    torch_shapes = {layout.name(tf_name): layout.shape(tf_name, shape) for tf_name, shape in shapes.items()}
    watched = tqdm(shapes, desc="converting", unit="tensor", disable=None)
    write_safetensors(folder / SAFETENSORS_FILE, torch_shapes, map(tensor, watched))


def write_safetensors(path: Path, shapes: dict[str, Shape], tensors: Iterable[Array]) -> None:
    """Writes float32 tensors, given in the order of `shapes`, one at a time: safetensors' own writer wants them all.

    The format is the length of a JSON header, the header, and the tensors' bytes (huggingface.co/docs/safetensors).
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for (name, shape), values in zip(shapes.items(), tensors, strict=True):
            if values.shape != shape:
                raise ValueError(f"{name}: found {values.shape}, expected {shape}")
            file.write(np.ascontiguousarray(values, "<f4").data)


def _write_config(source: Source, format: Format, vocabulary: Vocabulary, folder: Path) -> None:
    from transformers import SplinterConfig

    shared = dataclasses.asdict(source.config) | {
        "pad_token_id": vocabulary.id_of(PAD),
        "question_token_id": vocabulary.id_of(QUESTION),
        "dtype": "float32",
    }
    if format is Format.SPLINTER:
        # stock Splinter passes over qass_layer_norm_eps; it tells the way back to TensorFlow which model this is
        SplinterConfig(**shared, architectures=["SplinterForQuestionAnswering"]).save_pretrained(folder)
        return
    qass = QASSConfig(**shared, architectures=[ModelWithQASSHead.__name__])
    qass.auto_map = AUTO_MAP
    qass.save_pretrained(folder)
    write_modeling_file(folder)
