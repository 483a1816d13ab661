"""What a training step keeps in memory from its forward pass until its backward pass reads it, from its graph."""

import tensorflow as tf

# Hand on their inputs' memory, the n-th output that of the n-th input; a reshape's second input is a shape.
_ALIASES = {"Reshape", "Identity", "IdentityN", "ExpandDims", "Squeeze"}
_NOT_ACTIVATIONS = {"Const", "Placeholder", "ReadVariableOp", "VarHandleOp"}
_BACKWARD = "gradients/"  # the name scope of tf.gradients


def activation_bytes(graph: tf.Graph) -> int:
    """Bytes of the tensors that the forward pass makes and the backward pass reads: in the first part's, where a batch
    is computed in several. Cast copies of variables are not counted.

    All shapes must be static. This is what TensorFlow keeps as it runs a graph operation by operation; XLA, which
    compiles for a TPU, may make some again instead.
    """
    backward = (op for op in graph.get_operations() if op.name.startswith(_BACKWARD))
    read = {tensor.name: tensor for op in backward for tensor in map(_source, op.inputs)}
    return sum(
        tensor.shape.num_elements() * tensor.dtype.size
        for tensor in read.values()
        if not tensor.op.name.startswith(_BACKWARD) and not _of_a_variable(tensor)
    )


def _source(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor whose memory this one is."""
    while tensor.op.type in _ALIASES:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor


def _of_a_variable(tensor: tf.Tensor) -> bool:
    cast = tensor.op.type == "Cast"
    return (_source(tensor.op.inputs[0]) if cast else tensor).op.type in _NOT_ACTIVATIONS
