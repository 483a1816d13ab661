"""The TensorFlow graph against the PyTorch model on the same examples, layer norm by layer norm."""

import gc
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetuning.conversion import names
from finetuning.conversion.batches import Batch
from finetuning.conversion.dialects import Dialect, Source
from finetuning.conversion.tensors import SAFETENSORS_FILE
from finetuning.conversion.torch_writing import Format, stock_obstacles
from finetuning.conversion.weight_transforms import fold_token_types
from kosplinter_common.cli import InputError
from pretraining.model.checkpoint_names import KERAS_LAYER_NORM

FloatArray = npt.NDArray[np.floating]

TOLERANCE = 1e-4
LOGITS_AND_LOSS = ("start_logits", "end_logits", "loss")


@dataclass(frozen=True)
class Outputs:
    """start_logits, end_logits [rows, questions, length]; loss [rows, questions]: (CE_start + CE_end) / 2.

    layers: the output of each layer norm by its TensorFlow scope, [positions or questions of all rows, H].
    """

    start_logits: FloatArray
    end_logits: FloatArray
    loss: FloatArray
    layers: dict[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """Largest and mean absolute difference."""

    maximum: float
    mean: float

    def __str__(self) -> str:
        return f"max {self.maximum:.2e}, mean {self.mean:.2e}"


@dataclass(frozen=True)
class Report:
    """How far two models are apart on one batch: logits of visible positions and losses of real questions.

    answers: the share of questions whose best start and best end are the same in both.
    largest_logit: the largest absolute value among the expected logits.
    parting_layer: TensorFlow scope of the first layer norm whose outputs differ by more than the tolerance.
    """

    origin: str
    differences: dict[str, Difference]
    answers: float
    largest_logit: float
    parting_layer: str | None

    @property
    def maximum(self) -> float:
        return max(difference.maximum for difference in self.differences.values())

    def lines(self) -> list[str]:
        lines = [f"{name}: {difference}" for name, difference in self.differences.items()]
        examples = f"on {self.origin}, logits up to {self.largest_logit:.1f}"
        return [examples, *lines, f"same best start and end: {self.answers:.1%} of questions"]


def compare(expected: Outputs, actual: Outputs, batch: Batch, tolerance: float) -> Report:
    """Differences of `actual` from `expected`, and the first layer norm where they are above `tolerance`."""
    real = batch.real_questions
    visible = real[..., None] & (batch.input_mask[:, None, :] > 0)
    differences = {
        "start_logits": difference(expected.start_logits[visible], actual.start_logits[visible]),
        "end_logits": difference(expected.end_logits[visible], actual.end_logits[visible]),
        "loss": difference(expected.loss[real], actual.loss[real]),
    }
    same = np.logical_and(
        expected.start_logits.argmax(-1) == actual.start_logits.argmax(-1),
        expected.end_logits.argmax(-1) == actual.end_logits.argmax(-1),
    )
    parting = next(
        (
            scope
            for scope, values in expected.layers.items()
            if scope in actual.layers and not difference(values, actual.layers[scope]).maximum <= tolerance
        ),
        None,
    )
    largest = max(float(np.abs(logits[visible]).max()) for logits in (expected.start_logits, expected.end_logits))
    return Report(batch.origin, differences, float(same[real].mean()), largest, parting)


def difference(expected: FloatArray, actual: FloatArray) -> Difference:
    """How far two arrays of one shape are apart."""
    apart = np.abs(np.asarray(expected, np.float64) - np.asarray(actual, np.float64))
    return Difference(float(apart.max()), float(apart.mean()))


def check(report: Report, tolerance: float, where: str) -> None:
    """Raises InputError where a report is above `tolerance`, with the layer that parts first. NaN is above."""
    if all(difference.maximum <= tolerance for difference in report.differences.values()):
        return
    worst = max(report.differences, key=lambda name: np.nan_to_num(report.differences[name].maximum, nan=np.inf))
    layer = report.parting_layer or "none of the layer norms: the classifiers"
    raise InputError(
        f"{where}: verification failed on {report.origin}: {worst} differs by {report.differences[worst].maximum:.2e}, "
        f"allowed {tolerance:.1e} (--verify_tolerance; logits up to {report.largest_logit:.1f}, and float32 rounds "
        f"large ones more coarsely); the first layer to part: {layer}"
    )


def run_tensorflow(source: Source, batch: Batch) -> Outputs:
    """The pretraining graph with the source's own tensors; Keras layer norms where the dialect has them."""
    import tensorflow as tf

    from pretraining.model import modeling

    layers: dict[str, Any] = {}
    plain_layer_norm = modeling.layer_norm

    def recorded_layer_norm(inputs: Any, epsilon: float) -> Any:
        scope = tf.compat.v1.get_variable_scope().name
        if source.dialect is Dialect.KERAS_TF:
            outputs = tf.keras.layers.LayerNormalization(axis=-1, epsilon=epsilon)(inputs)
        else:
            outputs = plain_layer_norm(inputs, epsilon)
        layers[scope] = tf.reshape(outputs, [-1, source.config.hidden_size])
        return outputs

    source = fold_token_types(source)  # the graph has none
    with tf.Graph().as_default():
        start_logits, end_logits = modeling.span_logits(
            source.config,
            tf.constant(batch.input_ids, tf.int32),
            tf.constant(batch.input_mask, tf.int32),
            tf.constant(batch.question_positions, tf.int32),
            layer_norm=recorded_layer_norm,
        )
        loss = modeling.span_losses(start_logits, end_logits, tf.constant(batch.beginnings), tf.constant(batch.endings))
        with tf.compat.v1.Session() as session:
            assign_variables(source, session)
            return Outputs(*session.run((start_logits, end_logits, loss, layers)))


def assign_variables(source: Source, session: Any) -> None:
    """Gives every variable of the session's graph the source's tensor, one at a time."""
    for variable in session.graph.get_collection("variables"):
        tf_name = KERAS_LAYER_NORM.sub("/LayerNorm/", variable.name.removesuffix(":0"))
        session.run(variable.initializer, {variable.initializer.inputs[1]: source.read(tf_name)})


def run_qass(folder: Path, format: Format, batch: Batch) -> Outputs:
    """This project's model on the weights in `folder`, whatever format they were written in."""
    import torch

    from finetuning.modeling import ModelWithQASSHead, QASSConfig

    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = QASSConfig.from_dict(values | {"model_type": QASSConfig.model_type})
    state = _renamed_weights(folder) if format is Format.SPLINTER else None
    model = _load(ModelWithQASSHead, folder, config=config, state_dict=state)
    arguments = {"masked_positions": torch.from_numpy(batch.question_positions)}
    return _run_torch(model, batch, arguments, format.layout if state is None else names.QASS)


def run_stock(folder: Path, batch: Batch) -> Outputs:
    """transformers' own Splinter on the weights in `folder`."""
    import torch
    from transformers import SplinterForPreTraining

    model = _load(SplinterForPreTraining, folder)
    return _run_torch(model, batch, {"question_positions": torch.from_numpy(batch.question_positions)}, names.SPLINTER)


def _load(model_class: Any, folder: Path, **arguments: Any) -> Any:
    """from_pretrained that takes no weight as given and leaves none over."""
    import torch

    path = None if arguments.get("state_dict") else folder
    model, info = model_class.from_pretrained(path, output_loading_info=True, dtype=torch.float32, **arguments)
    wrong = {kind: sorted(map(str, found)) for kind, found in info.items() if found}
    if wrong:
        raise InputError(f"{folder}: its weights do not fit {model_class.__name__}: {wrong}")
    return model


def _renamed_weights(folder: Path) -> dict[str, Any]:
    """Weights written for the stock class, under the names of this project's."""
    from safetensors.torch import load_file

    renamed = {}
    for name, values in load_file(folder / SAFETENSORS_FILE).items():
        for stock, own in ((names.SPLINTER.head, names.QASS.head), (names.SPLINTER.encoder, names.QASS.encoder)):
            if stock and own and name.startswith(stock):
                renamed[own + name.removeprefix(stock)] = values
                break
    return renamed


def _run_torch(model: Any, batch: Batch, arguments: dict[str, Any], layout: names.TorchLayout) -> Outputs:
    import torch
    from torch.nn import functional

    layers: dict[str, FloatArray] = {}
    scopes = _layer_norm_scopes(model.config.num_hidden_layers, layout)

    def record(scope: str) -> Callable[..., None]:
        return lambda module, inputs, output: layers.update({scope: output.flatten(0, 1).numpy()})

    for name, module in model.named_modules():
        if name in scopes:
            module.register_forward_hook(record(scopes[name]))
    mask = torch.from_numpy(batch.input_mask)
    with torch.inference_mode():
        outputs = model.eval()(
            torch.from_numpy(batch.input_ids),
            attention_mask=mask,
            position_ids=mask.cumsum(1) - mask,
            **arguments,
        )
        start_loss, end_loss = (
            functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(labels).flatten(), reduction="none")
            for logits, labels in ((outputs.start_logits, batch.beginnings), (outputs.end_logits, batch.endings))
        )
    loss = ((start_loss + end_loss) / 2).view(batch.beginnings.shape)
    return Outputs(outputs.start_logits.numpy(), outputs.end_logits.numpy(), loss.numpy(), layers)


def _layer_norm_scopes(num_hidden_layers: int, layout: names.TorchLayout) -> dict[str, str]:
    """TensorFlow scope of each layer norm by its PyTorch module's name."""
    shapes = names.encoder_shapes(1, 1, num_hidden_layers, 1, 1) | names.head_shapes(1)
    gammas = [name for name in shapes if name.endswith("/LayerNorm/gamma")]
    return {str(layout.name(gamma)).removesuffix(".weight"): gamma.removesuffix("/LayerNorm/gamma") for gamma in gammas}


def verify(
    source: Source, folder: Path, format: Format, batch: Batch, tolerance: float
) -> tuple[Report, Report | None]:
    """Runs TensorFlow's graph and what lies in `folder` on one batch.

    Returns:
      the report of this project's model, and the stock class's where that was written.

    Raises:
      InputError: a model that has to be exact is above `tolerance`.
    """
    expected = run_tensorflow(source, batch)
    gc.collect()  # one framework's copy of the weights at a time
    exact = compare(expected, run_qass(folder, format, batch), batch, tolerance)
    check(exact, tolerance, source.reader.path)
    if format is not Format.SPLINTER:
        return exact, None
    stock = compare(expected, run_stock(folder, batch), batch, tolerance)
    if not stock_obstacles(source):
        check(stock, tolerance, f"{source.reader.path}: stock class")
    return exact, stock
