"""BERT's optimizer: Adam without bias correction, decoupled weight decay, linear warm-up and decay.

Source: Devlin et al. 2018 and its code's conventions; Ram et al. 2021, appendix A, for the values.
"""

import re
from typing import Any

import tensorflow as tf

from pretraining.model.replicas import sum_over_strategy, variable_name

NO_WEIGHT_DECAY = re.compile("LayerNorm|layer_norm|bias")


def learning_rate_at(step: tf.Tensor, peak: float, num_train_steps: int, num_warmup_steps: int) -> tf.Tensor:
    """Learning rate of the update that follows `step` (float32, from 0).

    Warm-up: peak · step / num_warmup_steps, so the very first update has rate 0, as in BERT. After it: the line
    through (0, peak) and (num_train_steps, 0).
    """
    decayed = peak * tf.maximum(0.0, 1.0 - step / num_train_steps)
    if not num_warmup_steps:
        return decayed
    return tf.where(step < num_warmup_steps, peak * step / num_warmup_steps, decayed)


class AdamWeightDecayOptimizer(tf.compat.v1.train.Optimizer):
    """m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; p ← p − lr · (m / (√v + ε) + decay · p), after clipping by global norm.

    Moments are variables named <variable>/adam_m and <variable>/adam_v. Gradients are summed over the replicas of the
    tf.distribute strategy in scope, then clipped: what is clipped is the gradient of the whole batch. On a TPU wrap
    this in CrossShardOptimizer, which sums before it calls apply_gradients.
    """

    def __init__(
        self,
        learning_rate: tf.Tensor | float,
        weight_decay_rate: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        clip_norm: float = 1.0,
    ) -> None:
        super().__init__(use_locking=False, name="AdamWeightDecayOptimizer")
        self.learning_rate = learning_rate
        self.weight_decay_rate = weight_decay_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.clip_norm = clip_norm
        self.gradient_norm: tf.Tensor | None = None  # of the whole batch before clipping; set by apply_gradients

    def apply_gradients(
        self, grads_and_vars: Any, global_step: tf.Variable | None = None, name: str | None = None
    ) -> tf.Operation:
        """One update of every variable that has a gradient, then global_step + 1."""
        pairs = [
            (tf.convert_to_tensor(gradient), variable) for gradient, variable in grads_and_vars if gradient is not None
        ]
        gradients = sum_over_strategy([gradient for gradient, _ in pairs])
        variables = [variable for _, variable in pairs]
        clipped, self.gradient_norm = tf.clip_by_global_norm(gradients, self.clip_norm)
        # Non-finite ones would reach every weight: the run stops at its next look, and TPUEstimator before that one.
        finite = tf.math.is_finite(self.gradient_norm)
        gradients = [tf.where(finite, gradient, tf.zeros_like(gradient)) for gradient in clipped]
        moments = [tuple(self._moment(variable, slot) for slot in ("adam_m", "adam_v")) for variable in variables]
        rate = tf.convert_to_tensor(self.learning_rate)
        return tf.distribute.get_replica_context().merge_call(
            self._update_all, args=(variables, gradients, moments, rate, global_step)
        )

    def _moment(self, variable: tf.Variable, slot: str) -> tf.Variable:
        return tf.compat.v1.get_variable(
            f"{variable_name(variable)}/{slot}",
            shape=variable.shape,
            dtype=tf.float32,
            initializer=tf.compat.v1.zeros_initializer(),
            trainable=False,
            use_resource=True,
        )

    def _update_all(
        self,
        strategy: tf.distribute.Strategy,
        variables: list[tf.Variable],
        gradients: list[tf.Tensor],
        moments: list[tuple[tf.Variable, tf.Variable]],
        rate: tf.Tensor,
        global_step: tf.Variable | None,
    ) -> tf.Operation:
        updates = [
            strategy.extended.update(variable, self._update_one, args=(gradient, m, v, rate))
            for variable, gradient, (m, v) in zip(variables, gradients, moments, strict=True)
        ]
        if global_step is None:
            return tf.group(updates)
        with tf.control_dependencies(updates):
            return strategy.extended.update(global_step, lambda step: step.assign_add(1, read_value=False))

    def _update_one(
        self, variable: tf.Variable, gradient: tf.Tensor, m: tf.Variable, v: tf.Variable, rate: tf.Tensor
    ) -> tf.Operation:
        next_m = self.beta_1 * m + (1.0 - self.beta_1) * gradient
        next_v = self.beta_2 * v + (1.0 - self.beta_2) * tf.square(gradient)
        update = next_m / (tf.sqrt(next_v) + self.epsilon)
        if not NO_WEIGHT_DECAY.search(variable_name(variable)):
            update += self.weight_decay_rate * variable
        return tf.group(
            variable.assign_sub(rate * update, read_value=False),
            m.assign(next_m, read_value=False),
            v.assign(next_v, read_value=False),
        )
