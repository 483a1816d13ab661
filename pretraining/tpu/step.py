"""The training step of one TPU core, built as TPUEstimator builds it and compiled with XLA on this machine."""

from dataclasses import dataclass

import tensorflow as tf
from tensorflow.compiler.xla.service import hlo_pb2
from tensorflow.python.eager.polymorphic_function import compiler_ir
from tensorflow.python.tpu import tpu_function

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import RecordSpec
from pretraining.model.replicas import Replicas
from pretraining.tpu.activations import activation_bytes
from pretraining.training.model_fn import model_fn_builder
from pretraining.training.train_step import StepSettings

# The sum over cores exists on TPUs only; here it hands on its input, which has the same shape.
_SUM_OVER_CORES = "CrossReplicaSum"


@dataclass(frozen=True)
class StepGraph:
    """One core's update: batch and variables in, variables and loss out."""

    definition: tf.compat.v1.GraphDef  # without the nodes of batch and variables
    batch: dict[str, tf.TensorSpec]  # by tensor name
    variables: dict[str, tf.TensorSpec]  # by the tensor name of the handle
    loss: str  # tensor name; comes after the update
    exchanged_bytes: int  # summed over the cores by one update
    activation_bytes: int  # kept for the backward pass of one part

    @property
    def variable_bytes(self) -> int:
        return sum(_bytes(spec.shape, spec.dtype) for spec in self.variables.values())


def build_step_graph(settings: StepSettings, cores: int, core_batch_size: int) -> StepGraph:
    """The graph of model_fn's training mode, as a core of `cores` gets it.

    Raises:
      InputError: a tensor whose shape is not static, with the operation's name and type.
    """
    model_fn = model_fn_builder(settings, Replicas(tpu_cores=cores))
    with tf.Graph().as_default() as graph, tpu_function.tpu_shard_context(cores):
        features = _placeholders(settings.objectives, core_batch_size)
        spec = model_fn(features, None, tf.estimator.ModeKeys.TRAIN, {})
        with tf.control_dependencies([spec.train_op]):
            loss = tf.identity(spec.loss)
        variables = tf.compat.v1.global_variables() + tf.compat.v1.local_variables()
    definition = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), [loss.op.name])
    operations = [graph.get_operation_by_name(node.name) for node in definition.node]
    _check_static(operations)
    summed = [op.outputs[0] for op in operations if op.type == _SUM_OVER_CORES]
    handles = {variable.handle.name: tf.TensorSpec(variable.shape, variable.dtype) for variable in variables}
    used = {op.outputs[0].name for op in operations if op.type == "VarHandleOp"}
    return StepGraph(
        definition=_compilable(definition),
        batch={tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in features.values()},
        variables={name: spec for name, spec in handles.items() if name in used},
        loss=loss.name,
        exchanged_bytes=sum(_bytes(tensor.shape, tensor.dtype) for tensor in summed),
        activation_bytes=activation_bytes(graph),
    )


def compile_step(step: StepGraph) -> hlo_pb2.HloProto:
    """XLA's optimised module of the whole step with its buffer assignment.

    Raises:
      InputError: an operation that XLA cannot compile, named.
    """
    # Only shapes matter, but XLA asks for the variables themselves.
    variables = {name: tf.Variable(tf.zeros(spec.shape, spec.dtype)) for name, spec in step.variables.items()}

    def update(*batch: tf.Tensor) -> list[tf.Tensor]:
        inputs = dict(zip(step.batch, batch, strict=True))
        capture = tf.compat.v1.get_default_graph().capture
        inputs |= {name: capture(variable.handle) for name, variable in variables.items()}
        return tf.graph_util.import_graph_def(
            step.definition, input_map=inputs, return_elements=[step.loss], name="step"
        )

    specs = list(step.batch.values())
    function = tf.compat.v1.wrap_function(update, specs)
    try:
        compiled = compiler_ir.from_concrete_function(function, specs)(
            stage="optimized_hlo_proto_serialized", device_name="/device:CPU:0"
        )
    except (ValueError, tf.errors.OpError) as error:
        raise InputError(f"XLA cannot compile the step: {_reason(str(error))}") from error
    return hlo_pb2.HloProto.FromString(compiled)


def _placeholders(spec: RecordSpec, batch_size: int) -> dict[str, tf.Tensor]:
    return {
        name: tf.compat.v1.placeholder(
            tf.int32 if kind == "int64" else tf.float32, [batch_size, length], f"batch/{name}"
        )
        for name, (kind, length) in spec.features().items()
    }


def _check_static(operations: list[tf.Operation]) -> None:
    for operation in operations:
        for tensor in operation.outputs:
            if not tensor.shape.is_fully_defined():
                raise InputError(
                    f"{operation.name} ({operation.type}): found shape {tensor.shape}, expected a static one: "
                    "a TPU compiles for fixed shapes"
                )


def _compilable(definition: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """Without the nodes that become arguments, and without the sums over cores."""
    compilable = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
    for node in definition.node:
        if node.op in ("Placeholder", "VarHandleOp"):
            continue
        kept = compilable.node.add()
        kept.CopyFrom(node)
        kept.attr.pop("_class", None)  # "on the device of": may name a node that was left out
        if node.op == _SUM_OVER_CORES:
            kept.Clear()
            kept.MergeFrom(tf.compat.v1.NodeDef(name=node.name, op="Identity", input=node.input[:1]))
            kept.attr["T"].CopyFrom(node.attr["T"])
    return compilable


def _reason(message: str) -> str:
    """What XLA says of the operations, without its notes on how to dump graphs."""
    message = message.removeprefix("Failed getting HLO text: '")
    return message.split("The op is created at")[0].split("tf2xla conversion failed")[0].strip()


def _bytes(shape: tf.TensorShape, dtype: tf.DType) -> int:
    return shape.num_elements() * dtype.size
