"""How the replicas of a training step add up: TPU cores, tf.distribute replicas, or none."""

import re
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla


@dataclass(frozen=True)
class Replicas:
    """What a model_fn must know of its neighbours.

    tpu_cores: cores that share a step on a TPU; 0 elsewhere, where the tf.distribute strategy in scope counts.
    """

    tpu_cores: int = 0

    def sum(self, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        """Each tensor summed over all replicas; every replica gets the sums."""
        if self.tpu_cores > 1:
            return [tf.compat.v1.tpu.cross_replica_sum(tensor) for tensor in tensors]
        return sum_over_strategy(tensors)

    def index(self) -> tf.Tensor:
        """This replica's number among all, int32; of several workers' replicas too."""
        if self.tpu_cores:
            return xla.replica_id()
        return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)

    def optimizer(self, optimizer: tf.compat.v1.train.Optimizer) -> tf.compat.v1.train.Optimizer:
        """`optimizer`, on a TPU behind the one that sums gradients over the cores first."""
        if self.tpu_cores > 1:
            return tf.compat.v1.tpu.CrossShardOptimizer(optimizer, reduction=tf.compat.v1.losses.Reduction.SUM)
        return optimizer


def variable_name(variable: tf.Variable) -> str:
    """Name of a variable as in checkpoints: a strategy's copies on further devices end in /replica_N."""
    return re.sub(r"/replica_\d+$", "", variable.op.name)


def sum_over_strategy(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tensors
    return context.merge_call(_sum_all, args=(tensors,))


def _sum_all(strategy: tf.distribute.Strategy, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    # ReplicaContext.all_reduce would do, were its gradient not beyond Estimator's graphs.
    return strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, [(tensor, tensor) for tensor in tensors])
