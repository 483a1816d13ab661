"""The parameters of encoder and head under TensorFlow's names, and what each PyTorch layout calls them.

Google BERT's variable names are the pivot: every source is read into them, every output is written from them.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]

TRANSFORMS = ("query_start_transform", "query_end_transform", "start_transform", "end_transform")
CLASSIFIERS = ("start_classifier", "end_classifier")
EMBEDDINGS = "bert/embeddings"
WORD_EMBEDDINGS = f"{EMBEDDINGS}/word_embeddings"
POSITION_EMBEDDINGS = f"{EMBEDDINGS}/position_embeddings"
TOKEN_TYPE_EMBEDDINGS = f"{EMBEDDINGS}/token_type_embeddings"
EMBEDDINGS_GAMMA = f"{EMBEDDINGS}/LayerNorm/gamma"
EMBEDDINGS_BETA = f"{EMBEDDINGS}/LayerNorm/beta"
HEAD = "cls/span_predictions"

# ELECTRA's, between embeddings and encoder; our graph has no such layer.
PROJECTION_KERNEL = "bert/embeddings_project/kernel"
PROJECTION_BIAS = "bert/embeddings_project/bias"

IGNORED_IN_TF = (
    (re.compile(r"^bert/pooler/"), "pooler: QASS does not use it"),
    (re.compile(r"^cls/predictions/"), "masked language model head: QASS does not use it"),
    (re.compile(r"^cls/seq_relationship/"), "next sentence head: QASS does not use it"),
)
IGNORED_IN_TORCH = (
    (re.compile(r"embeddings\.(position|token_type)_ids$"), "constant buffer"),
    (re.compile(r"(^|\.)pooler\."), "pooler: QASS does not use it"),
    (re.compile(r"^(cls\.predictions|generator_predictions|generator_lm_head)(\.|$)"), "masked language model head"),
    (re.compile(r"^cls\.seq_relationship\."), "next sentence head: QASS does not use it"),
    (re.compile(r"^discriminator_predictions\."), "ELECTRA's discriminator head: QASS does not use it"),
    (re.compile(r"^(classifier|qa_outputs)\."), "head of another task"),
)


@dataclass(frozen=True)
class TorchLayout:
    """How one kind of PyTorch model prefixes its parameters.

    head: None where the layout has no span-selection head.
    raw_classifiers: start_classifier and end_classifier are bare matrices that multiply from the right, as in
      TensorFlow, and not the transposed weights of torch.nn.Linear.
    """

    encoder: str
    head: str | None = None
    raw_classifiers: bool = False

    def name(self, tf_name: str) -> str:
        """This layout's name of a TensorFlow parameter."""
        if tf_name.startswith(HEAD + "/"):
            return f"{self.head}{self._head_name(tf_name.removeprefix(HEAD + '/'))}"
        name = re.sub(r"/layer_(\d+)/", r"/layer/\1/", tf_name.removeprefix("bert/"))
        if name.endswith("_embeddings"):
            name += "/weight"
        return self.encoder + _torch_leaf(name).replace("/", ".")

    def _head_name(self, name: str) -> str:
        if name in CLASSIFIERS:
            return name if self.raw_classifiers else name + ".weight"
        return _torch_leaf(name).replace("/", ".")

    def is_transposed(self, tf_name: str) -> bool:
        """Whether the tensor here is the transpose of TensorFlow's."""
        if tf_name.removeprefix(HEAD + "/") in CLASSIFIERS:
            return not self.raw_classifiers
        return tf_name.endswith("/kernel")

    def shape(self, tf_name: str, tf_shape: Shape) -> Shape:
        return tf_shape[::-1] if self.is_transposed(tf_name) else tf_shape

    def transpose(self, tf_name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """TensorFlow's tensor as this layout holds it, and back again: the operation is its own inverse."""
        return np.ascontiguousarray(values.T) if self.is_transposed(tf_name) else values


QASS = TorchLayout("bert.", "qass.")
SPLINTER = TorchLayout("splinter.", "splinter_qass.")
ORIGINAL_TORCH = TorchLayout("bert.", "cls.span_predictions.", raw_classifiers=True)
BERT = TorchLayout("bert.")
ELECTRA = TorchLayout("electra.")
BARE_ENCODER = TorchLayout("")


def _torch_leaf(name: str) -> str:
    name = re.sub(r"/kernel$", "/weight", name)
    return name.replace("LayerNorm/gamma", "LayerNorm/weight").replace("LayerNorm/beta", "LayerNorm/bias")


def encoder_shapes(
    vocab_size: int, hidden_size: int, layers: int, intermediate_size: int, max_positions: int
) -> dict[str, Shape]:
    """Every parameter of the encoder, in the order of computation, with TensorFlow's shape."""
    h, i = hidden_size, intermediate_size
    shapes: dict[str, Shape] = {WORD_EMBEDDINGS: (vocab_size, h), POSITION_EMBEDDINGS: (max_positions, h)}
    shapes |= _layer_norm(EMBEDDINGS, h)
    for layer in range(layers):
        scope = f"bert/encoder/layer_{layer}"
        for projection in ("query", "key", "value"):
            shapes |= _dense(f"{scope}/attention/self/{projection}", h, h)
        shapes |= _dense(f"{scope}/attention/output/dense", h, h) | _layer_norm(f"{scope}/attention/output", h)
        shapes |= _dense(f"{scope}/intermediate/dense", h, i)
        shapes |= _dense(f"{scope}/output/dense", i, h) | _layer_norm(f"{scope}/output", h)
    return shapes


def head_shapes(hidden_size: int) -> dict[str, Shape]:
    """Every parameter of question-aware span selection, with TensorFlow's shape."""
    shapes: dict[str, Shape] = {}
    for transform in TRANSFORMS:
        scope = f"{HEAD}/{transform}"
        shapes |= _dense(f"{scope}/dense", hidden_size, hidden_size) | _layer_norm(scope, hidden_size)
    return shapes | {f"{HEAD}/{classifier}": (hidden_size, hidden_size) for classifier in CLASSIFIERS}


def _dense(scope: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{scope}/kernel": (inputs, outputs), f"{scope}/bias": (outputs,)}


def _layer_norm(scope: str, size: int) -> dict[str, Shape]:
    return {f"{scope}/LayerNorm/gamma": (size,), f"{scope}/LayerNorm/beta": (size,)}
