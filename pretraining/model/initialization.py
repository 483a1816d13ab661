"""--init_checkpoint: weights of any checkpoint with Google BERT's names, every variable accounted for."""

from collections import Counter
from dataclasses import dataclass

import tensorflow as tf
from absl import logging

from kosplinter_common.cli import InputError
from kosplinter_common.files import path_without_wildcards
from pretraining.model.checkpoint_names import KERAS_LAYER_NORM, optimizer_state
from pretraining.model.configuration import (
    KERAS_LAYER_NORM_EPS,
    KOSPLINTER_VOCAB_SIZE,
    PUBLIC_LAYER_NORM_EPS,
    BertConfig,
    is_own_config,
    with_layer_norm_eps,
)
from pretraining.model.replicas import variable_name


@dataclass(frozen=True)
class Assignment:
    """loaded: {name in the checkpoint: name in the graph}; missing: graph's variables that start at random;
    left_over: the checkpoint's that nothing here takes; passed_over: its optimizer's state, {name: what it is}."""

    loaded: dict[str, str]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    passed_over: dict[str, str]


def assign(graph: dict[str, list[int]], checkpoint: dict[str, list[int]], path: str) -> Assignment:
    """Which variable of a checkpoint goes where. Both arguments are {variable name: shape}.

    Raises:
      InputError: a variable of another shape, or none in common.
    """
    loaded = {}
    for name, shape in checkpoint.items():
        target = KERAS_LAYER_NORM.sub("/LayerNorm/", name)
        if target not in graph or optimizer_state(name, checkpoint):
            continue
        if list(shape) != list(graph[target]):
            raise InputError(f"{path}: {name}: found shape {list(shape)}, expected {list(graph[target])}")
        loaded[name] = target
    if not loaded:
        raise InputError(f"{path}: found none of this model's variables, expected names like {next(iter(graph))}")
    reasons = {name: optimizer_state(name, checkpoint) for name in sorted(checkpoint)}
    passed_over = {name: reason for name, reason in reasons.items() if reason}
    return Assignment(
        loaded=loaded,
        missing=tuple(sorted(set(graph) - set(loaded.values()))),
        left_over=tuple(sorted(set(checkpoint) - set(loaded) - set(passed_over))),
        passed_over=passed_over,
    )


def list_checkpoint(path: str) -> dict[str, list[int]]:
    """{variable name: shape} of a checkpoint.

    Raises:
      InputError: not there or not readable.
    """
    try:
        return dict(tf.train.list_variables(path_without_wildcards(path)))
    except (tf.errors.OpError, ValueError) as error:
        raise InputError(f"{path}: not a readable TensorFlow checkpoint: {error}") from error


def config_of_start(config_path: str, checkpoint: dict[str, list[int]], layer_norm_eps: float | None) -> BertConfig:
    """The config of a run that starts from a checkpoint, with the epsilon that its layer norms were trained with.

    Names cannot always tell it: KoSplinter's own notebook renames Keras's layer norms (1e-3) to the original's (1e-12).

    Args:
      checkpoint: {variable name: shape}.
      layer_norm_eps: what the user says it was, or None.

    Raises:
      InputError: the config does not tell the epsilon, the names are the original's and the vocabulary KoSplinter's.
    """
    keras = any(KERAS_LAYER_NORM.search(name) for name in checkpoint)
    config = BertConfig.from_json_file(config_path, keras_layer_norm=keras)
    ours = is_own_config(config_path)
    if layer_norm_eps is not None:
        return with_layer_norm_eps(config, layer_norm_eps, ours)
    if not ours and not keras and config.vocab_size == KOSPLINTER_VOCAB_SIZE:
        raise InputError(
            f"--init_checkpoint: found layer norms named LayerNorm and {config.vocab_size:,} pieces: the original's "
            f"epsilon is {PUBLIC_LAYER_NORM_EPS:g}, a renamed KoSplinter's {KERAS_LAYER_NORM_EPS:g}; expected "
            "--layer_norm_eps with the one it was trained with"
        )
    if ours and keras and config.layer_norm_eps != KERAS_LAYER_NORM_EPS:
        logging.warning(
            "epsilon %g as %s says, though layer norms named layer_normalization_K were trained with Keras's %g",
            *(config.layer_norm_eps, config_path, KERAS_LAYER_NORM_EPS),
        )
    elif not ours:
        names = "layer_normalization_K" if keras else "LayerNorm"
        logging.info("epsilon %g, assumed from layer norms named %s", config.layer_norm_eps, names)
    return config


def init_from_checkpoint(path: str) -> None:
    """Makes the trainable variables of the current graph start from a checkpoint, and reports every one."""
    variables = {variable_name(variable): variable for variable in tf.compat.v1.trainable_variables()}
    graph = {name: variable.shape.as_list() for name, variable in variables.items()}
    assignment = assign(graph, list_checkpoint(path), path)
    tf.compat.v1.train.init_from_checkpoint(path, {old: variables[new] for old, new in assignment.loaded.items()})
    if variables.keys() == {variable.op.name for variable in variables.values()}:  # else a further replica
        _report(assignment, path)


def _report(assignment: Assignment, path: str) -> None:
    logging.info("Loaded %d variables from %s", len(assignment.loaded), path)
    for name in assignment.loaded:
        logging.info("  loaded     %s", name)
    for name in assignment.missing:
        logging.warning("  missing    %s: starts at random", name)
    for what, count in Counter(assignment.passed_over.values()).items():
        logging.info("  passed over %d: %s", count, what)
    for name in assignment.left_over:
        logging.warning("  left over  %s: not used by this model", name)
