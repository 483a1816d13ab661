"""Where a new run's weights come from: --init_checkpoint, the structured start, or BERT's random one."""

import tensorflow as tf
from absl import logging

from kosplinter_common.records.examples import FLOAT32, RecordSpec
from pretraining.input import storage
from pretraining.model.configuration import BertConfig
from pretraining.model.modeling import GraphOptions
from pretraining.model.objectives import score
from pretraining.model.structured_start import initial_values
from pretraining.settings import PretrainingSettings

STRUCTURED_FOLDER = "structured_start"


def starting_checkpoint(settings: PretrainingSettings, config: BertConfig, objectives: RecordSpec, task: str) -> str:
    """The checkpoint that a new run starts from; "" for BERT's random values.

    The structured start is written down as a checkpoint, one for each task of a cluster: so it reaches the variables of
    every device and replica on the way that --init_checkpoint takes.

    Raises:
      InputError: the config is none that the structured start can serve.
    """
    if settings.init_checkpoint:
        if settings.initializer != "bert":
            logging.info("--initializer=%s: weights of --init_checkpoint are not touched", settings.initializer)
        return settings.init_checkpoint
    if settings.initializer == "bert":
        return ""
    prefix = storage.join(storage.join(settings.output_dir, STRUCTURED_FOLDER), f"{task}.ckpt")
    values = initial_values(_shapes(config, objectives), config, settings.random_seed)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tensors = {name: tf.compat.v1.placeholder(tf.float32, value.shape) for name, value in values.items()}
        save = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=list(tensors.values()),
        )
        session.run(save, {tensors[name]: value for name, value in values.items()})
    logging.info("The weights begin as --initializer=structured sets them")
    return prefix


def remove_structured_start(folder: str) -> None:
    """To be called once a run has a checkpoint of its own."""
    path = storage.join(folder, STRUCTURED_FOLDER)
    if tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)


def _shapes(config: BertConfig, objectives: RecordSpec) -> dict[str, list[int]]:
    """{name: shape} of the variables that training will have."""
    with tf.Graph().as_default():
        features = {
            name: tf.compat.v1.placeholder(tf.float32 if kind == FLOAT32 else tf.int32, [1, length])
            for name, (kind, length) in objectives.features().items()
        }
        score(config, features, objectives, GraphOptions())
        return {v.op.name: v.shape.as_list() for v in tf.compat.v1.trainable_variables()}
