"""Which system a checkpoint comes from, and what each of its variables is."""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from finetuning.conversion import names
from finetuning.conversion.names import Shape, TorchLayout
from finetuning.conversion.tensors import Array, Checkpoint, TensorReader
from finetuning.conversion.vocabulary import PAD, QUESTION, Vocabulary
from kosplinter_common.cli import InputError
from kosplinter_common.files import read_json_object
from pretraining.model.checkpoint_names import KERAS_LAYER_NORM, optimizer_state
from pretraining.model.configuration import (
    KERAS_LAYER_NORM_EPS,
    KOSPLINTER_VOCAB_SIZE,
    OWN_CONFIG_KEY,
    PUBLIC_LAYER_NORM_EPS,
    BertConfig,
    with_layer_norm_eps,
)

_LISTED = 12  # variables that an error names one by one
_EXAMPLES = 2  # and that the report names, of those ignored for one reason


class Dialect(Enum):
    """The kinds of checkpoint there are; the value is what the user reads."""

    OWN_TF = "KoSplinter of this project (TensorFlow)"
    SPLINTER_TF = "the original Splinter (TensorFlow, LayerNorm)"
    KERAS_TF = "the original KoSplinter (TensorFlow, Keras layer_normalization_K)"
    BERT_TF = "Google BERT's variables (TensorFlow, no QASS)"
    OWN_TORCH = "KoSplinter of this project (PyTorch)"
    SPLINTER_HF = "Hugging Face Splinter (PyTorch)"
    SPLINTER_TORCH = "the original Splinter (PyTorch state dict)"
    BERT_TORCH = "BERT (PyTorch, no QASS)"
    ELECTRA_TORCH = "ELECTRA (PyTorch, no QASS)"


# By what parameter name a PyTorch dialect is told; the first that fits.
_TORCH_DIALECTS = (
    ("splinter_qass.", Dialect.SPLINTER_HF, names.SPLINTER),
    ("cls.span_predictions.", Dialect.SPLINTER_TORCH, names.ORIGINAL_TORCH),
    ("qass.", Dialect.OWN_TORCH, names.QASS),
    ("electra.", Dialect.ELECTRA_TORCH, names.ELECTRA),
    ("bert.", Dialect.BERT_TORCH, names.BERT),
    ("embeddings.", Dialect.BERT_TORCH, names.BARE_ENCODER),
)


# These speak Hugging Face's terms already.
_HUGGING_FACE = (Dialect.SPLINTER_HF, Dialect.BERT_TORCH, Dialect.ELECTRA_TORCH)


@dataclass(frozen=True)
class Source:
    """A checkpoint whose every variable is accounted for.

    config: in Hugging Face's terms, whatever the file's were.
    layout: of a PyTorch source; None for TensorFlow.
    shapes: TensorFlow shapes of all parameters by TensorFlow name, in the order of computation.
    found: the checkpoint's own name of each parameter it holds.
    ignored: the checkpoint's other variables, with the reason why each is not needed.
    computed: parameters that are not read but made here: a new head, a table with a row added.
    epsilon_origin: what the epsilons of layer norms were taken from; no tensor tells them, and verification cannot.
    """

    dialect: Dialect
    config: BertConfig
    reader: TensorReader
    layout: TorchLayout | None
    shapes: dict[str, Shape]
    found: dict[str, str]
    ignored: dict[str, str]
    computed: dict[str, Array] = field(default_factory=dict)
    epsilon_origin: str = ""

    @property
    def has_head(self) -> bool:
        return any(name.startswith(names.HEAD) for name in self.shapes)

    def read(self, tf_name: str) -> Array:
        """One parameter, float32, as TensorFlow holds it."""
        if tf_name in self.computed:
            return self.computed[tf_name]
        values = self.reader.read(self.found[tf_name])
        return values if self.layout is None else self.layout.transpose(tf_name, values)

    def with_computed(self, computed: dict[str, Array], config: BertConfig | None = None) -> "Source":
        """The same source with some parameters replaced or added."""
        shapes = self.shapes | {name: values.shape for name, values in computed.items()}
        return dataclasses.replace(self, computed=self.computed | computed, shapes=shapes, config=config or self.config)


def detect(
    checkpoint: Checkpoint, variables: Iterable[str], config_is_ours: bool
) -> tuple[Dialect, TorchLayout | None]:
    """Tells the dialect by the variables' names, and by the config where names do not say.

    Raises:
      InputError: the names belong to no known system, or to two.
    """
    variables = list(variables)
    if checkpoint.kind == "torch":
        for prefix, dialect, layout in _TORCH_DIALECTS:
            if any(name.startswith(prefix) for name in variables):
                return dialect, layout
        raise InputError(f"{checkpoint.path}: found {_listed(sorted(variables))}: no Splinter, BERT or ELECTRA encoder")
    ours = [name for name in variables if not _reason(name, names.IGNORED_IN_TF)]
    keras = [name for name in ours if KERAS_LAYER_NORM.search(name)]
    plain = [name for name in ours if "/LayerNorm/" in name]
    if keras and plain:
        raise InputError(
            f"{checkpoint.path}: two kinds of layer norm, {keras[0]} and {plain[0]}: epsilon 1e-3 or 1e-12?"
        )
    if not any(name.startswith(names.HEAD) for name in variables):
        return Dialect.BERT_TF, None
    if keras:
        return Dialect.KERAS_TF, None
    return (Dialect.OWN_TF if config_is_ours else Dialect.SPLINTER_TF), None


def open_source(
    checkpoint: Checkpoint,
    reader: TensorReader,
    config_path: Path,
    overrides: dict[str, Any],
    vocabulary: Vocabulary | None = None,
) -> Source:
    """Detects the dialect, reads the config by its rule, and accounts for every variable.

    Args:
      overrides: layer_norm_eps and hidden_act that stand above the config's; None where not given.
      vocabulary: by which KoSplinter's weights are known under other names.

    Raises:
      InputError: the epsilon of the layer norms cannot be told; variables missing, unknown, twice or of another shape:
        the message lists names and shapes.
    """
    values = read_json_object(config_path, "a config")
    dialect, layout = detect(checkpoint, reader.shapes, OWN_CONFIG_KEY in values)
    config = _read_config(dialect, config_path, values, overrides)
    origin = _epsilon_origin(dialect, config_path, values, overrides, vocabulary)
    expected = names.encoder_shapes(
        config.vocab_size,
        config.hidden_size,
        config.num_hidden_layers,
        config.intermediate_size,
        config.max_position_embeddings,
    )
    if (layout is None and dialect is not Dialect.BERT_TF) or (layout is not None and layout.head is not None):
        expected |= names.head_shapes(config.hidden_size)
    if layout is not None and layout.name(names.PROJECTION_KERNEL) in reader.shapes:
        expected |= _projected_shapes(config, reader.shapes[layout.name(names.PROJECTION_KERNEL)][-1])
    found, ignored = _account(checkpoint, reader, layout, expected)
    if names.TOKEN_TYPE_EMBEDDINGS in found:
        rows, columns = (*reader.shapes[found[names.TOKEN_TYPE_EMBEDDINGS]], 0, 0)[:2]
        expected[names.TOKEN_TYPE_EMBEDDINGS] = (rows, expected[names.WORD_EMBEDDINGS][1])
        _check_shapes(checkpoint, {names.TOKEN_TYPE_EMBEDDINGS: (rows, columns)}, expected)
        config = dataclasses.replace(config, type_vocab_size=rows)
    return Source(dialect, config, reader, layout, expected, found, ignored, epsilon_origin=origin)


def _read_config(dialect: Dialect, path: Path, values: dict[str, Any], overrides: dict[str, Any]) -> BertConfig:
    """The config with overrides. BertConfig's rule holds for TensorFlow's dialects and for the original's state
    dicts; the other PyTorch dialects speak Hugging Face's terms already."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if OWN_CONFIG_KEY in values or dialect not in _HUGGING_FACE:
        config = BertConfig.from_json_file(path, keras_layer_norm=dialect is Dialect.KERAS_TF)
        if "layer_norm_eps" in given:
            config = with_layer_norm_eps(config, given["layer_norm_eps"], OWN_CONFIG_KEY in values)
        return dataclasses.replace(config, **given)
    known = {field.name for field in dataclasses.fields(BertConfig)}
    try:
        config = dataclasses.replace(BertConfig(**{k: v for k, v in values.items() if k in known}), **given)
    except (InputError, TypeError) as error:
        raise InputError(f"{path}: {error}") from error
    if dialect is Dialect.SPLINTER_HF and config.hidden_act != "gelu" and "hidden_act" not in given:
        raise InputError(
            f"{path}: hidden_act: found {config.hidden_act!r} in the encoder, while stock Splinter's QASS is always "
            "the erf form ('gelu'); say with --hidden_act which one both shall have"
        )
    return config


def _epsilon_origin(
    dialect: Dialect, path: Path, values: dict[str, Any], overrides: dict[str, Any], vocabulary: Vocabulary | None
) -> str:
    """A sentence about what the epsilons were taken from.

    Raises:
      InputError: names, config and vocabulary point to different epsilons, and the user names none.
    """
    if overrides.get("layer_norm_eps") is not None:
        return "as --layer_norm_eps says"
    told, ours, keras = values.get("layer_norm_eps"), OWN_CONFIG_KEY in values, dialect is Dialect.KERAS_TF
    if keras and ours and told != KERAS_LAYER_NORM_EPS:
        raise _unknown_epsilon(path, f"found {told} there, and names that Keras gives ({KERAS_LAYER_NORM_EPS:g})")
    if keras:
        return "assumed: Keras's default, as the layer norms are named layer_normalization_K"
    if ours:
        return f"as {path.name} says"
    if vocabulary is not None and _is_kosplinters(vocabulary):
        names = f"names of a system with {told or PUBLIC_LAYER_NORM_EPS:g}, which a renamed KoSplinter has too"
        raise _unknown_epsilon(path, f"found KoSplinter's vocabulary ({KERAS_LAYER_NORM_EPS:g}) and {names}")
    if dialect in _HUGGING_FACE:
        return f"as {path.name} says; QASS's is Hugging Face's"
    if told not in (None, PUBLIC_LAYER_NORM_EPS):
        raise _unknown_epsilon(path, f"found {told} there, and names of a system with {PUBLIC_LAYER_NORM_EPS:g}")
    return "assumed: the original Splinter's, as the layer norms are named LayerNorm and the config is a public one"


def _unknown_epsilon(path: Path, found: str) -> InputError:
    return InputError(f"{path}: the layer norms' epsilon: {found}; expected --layer_norm_eps with the one of training")


def _is_kosplinters(vocabulary: Vocabulary) -> bool:
    """KoELECTRA's vocabulary behind a [QUESTION]: no other public system has it."""
    return len(vocabulary) == KOSPLINTER_VOCAB_SIZE and vocabulary.tokens[:2] == (QUESTION, PAD)


def _projected_shapes(config: BertConfig, embedding_size: int) -> dict[str, Shape]:
    """What differs from BERT where ELECTRA's embeddings are narrower than its encoder."""
    return {
        names.WORD_EMBEDDINGS: (config.vocab_size, embedding_size),
        names.POSITION_EMBEDDINGS: (config.max_position_embeddings, embedding_size),
        names.EMBEDDINGS_GAMMA: (embedding_size,),
        names.EMBEDDINGS_BETA: (embedding_size,),
        names.PROJECTION_KERNEL: (embedding_size, config.hidden_size),
        names.PROJECTION_BIAS: (config.hidden_size,),
    }


def _account(
    checkpoint: Checkpoint, reader: TensorReader, layout: TorchLayout | None, expected: dict[str, Shape]
) -> tuple[dict[str, str], dict[str, str]]:
    """Each expected parameter's name in the checkpoint, and the reason for each other variable's being ignored."""
    places = {**expected, names.TOKEN_TYPE_EMBEDDINGS: ()}
    tf_names = {name if layout is None else layout.name(name): name for name in places}
    patterns = names.IGNORED_IN_TF if layout is None else names.IGNORED_IN_TORCH
    found: dict[str, str] = {}
    ignored, unknown, twice = {}, [], []
    for name in sorted(reader.shapes):
        tf_name = tf_names.get(_modern_name(name, layout))
        state = optimizer_state(name, reader.shapes) if layout is None else None
        if reason := state or _reason(name, patterns):
            ignored[name] = reason
        elif tf_name is None:
            unknown.append(_with_shape(name, reader.shapes[name]))
        elif tf_name in found:
            twice.append(f"{found[tf_name]} and {name}")
        else:
            found[tf_name] = name
    missing = [_with_shape(name, shape) for name, shape in expected.items() if name not in found]
    problems = [
        f"{len(listed)} {what}: {_listed(listed)}"
        for what, listed in (("missing", missing), ("not known", unknown), ("there twice", twice))
        if listed
    ]
    if problems:
        raise InputError(f"{checkpoint.path}: variables do not fit the config; " + "; ".join(problems))
    actual = {name: reader.shapes[theirs] for name, theirs in found.items() if name in expected}
    if layout is not None:
        actual = {name: layout.shape(name, shape) for name, shape in actual.items()}
    _check_shapes(checkpoint, actual, expected)
    return found, ignored


def _modern_name(name: str, layout: TorchLayout | None) -> str:
    if layout is None:
        return KERAS_LAYER_NORM.sub("/LayerNorm/", name)
    # state dicts of 2019 kept TensorFlow's names for layer norms
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))


def _check_shapes(checkpoint: Checkpoint, actual: dict[str, Shape], expected: dict[str, Shape]) -> None:
    wrong = [
        f"{name} found {list(shape)}, expected {list(expected[name])}"
        for name, shape in actual.items()
        if shape != expected[name]
    ]
    if wrong:
        raise InputError(f"{checkpoint.path}: {len(wrong)} variables of another shape: {_listed(wrong)}")


def _reason(name: str, patterns: Iterable[tuple[re.Pattern[str], str]]) -> str | None:
    return next((reason for pattern, reason in patterns if pattern.search(name)), None)


def _with_shape(name: str, shape: Shape) -> str:
    return f"{name} {list(shape)}"


def _listed(items: list[str], count: int = _LISTED) -> str:
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more


def describe_ignored(ignored: dict[str, str]) -> list[str]:
    """One line a reason: how many variables, and which."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted(ignored.items()):
        by_reason.setdefault(reason, []).append(name)
    return [f"ignored {len(found)} ({reason}): {_listed(found, _EXAMPLES)}" for reason, found in by_reason.items()]
