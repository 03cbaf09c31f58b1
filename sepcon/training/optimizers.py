"""Optimizers by plain functions, so that a configuration can name them.

None of them clips: the loop does that, on the gradient of the global batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sepcon.training.schedules import Schedule

# Biases and the scale and offset of normalisation are not shrunk.
_NOT_DECAYED = ("bias", "beta", "gamma")


def adam(
    *,
    learning_rate: float | Schedule,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> keras.optimizers.Optimizer:
    """Adam (Kingma & Ba, 2015).

    Args:
      learning_rate: rate or schedule.
      beta_1: decay of the running mean of gradients, 0 to 1.
      beta_2: decay of the running mean of squared gradients, 0 to 1.
      epsilon: added to the root of the latter.

    Returns:
      A new optimizer, without gradient clipping.
    """
    return Adam(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


def adamw(
    *,
    learning_rate: float | Schedule,
    weight_decay: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    not_decayed: Sequence[str] = _NOT_DECAYED,
) -> keras.optimizers.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019).

    Args:
      learning_rate: rate or schedule; the decay is multiplied by it.
      weight_decay: share by which a weight shrinks per step, to be multiplied by the rate.
      beta_1: decay of the running mean of gradients, 0 to 1.
      beta_2: decay of the running mean of squared gradients, 0 to 1.
      epsilon: added to the root of the latter.
      not_decayed: weights whose name contains one of these are not shrunk.

    Returns:
      A new optimizer, without gradient clipping.
    """
    optimizer = AdamW(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
    )
    optimizer.exclude_from_weight_decay(var_names=list(not_decayed))
    return optimizer


def sgd(
    *, learning_rate: float | Schedule, momentum: float = 0.9, nesterov: bool = False
) -> keras.optimizers.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
      learning_rate: rate or schedule.
      momentum: share of the last update that the next one keeps, 0 to 1.
      nesterov: whether the momentum is Nesterov's.

    Returns:
      A new optimizer, without gradient clipping.
    """
    return keras.optimizers.SGD(learning_rate=learning_rate, momentum=momentum, nesterov=nesterov)


class _SizeOfStepOnce:
    """What Keras' Adam does, to the bit, in a third of its operations.

    Keras works the size of a step out anew for every weight, and each of its operations checks
    shapes in Python: making them was a tenth of the processor time of a short training.
    """

    def _backend_update_step(self: Any, grads: Any, trainable_variables: Any, rate: Any) -> None:
        """Hands the size of the step on in place of the rate."""
        step = tf.cast(self.iterations.value + 1, tf.float32)
        beta_1_power = tf.pow(tf.constant(self.beta_1, tf.float32), step)
        beta_2_power = tf.pow(tf.constant(self.beta_2, tf.float32), step)
        rate = tf.cast(tf.convert_to_tensor(rate), tf.float32)
        size = rate * tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)
        super()._backend_update_step(grads, trainable_variables, size)  # type: ignore[misc]

    def update_step(self: Any, gradient: Any, variable: Any, size: Any) -> None:
        index = self._get_variable_index(variable)
        mean, square = self._momentums[index].value, self._velocities[index].value
        mean.assign_add((gradient - mean) * (1 - self.beta_1))
        square.assign_add((tf.square(gradient) - square) * (1 - self.beta_2))
        size = tf.cast(size, variable.dtype)
        variable.assign_sub(mean * size / (tf.sqrt(square) + self.epsilon))


class Adam(_SizeOfStepOnce, keras.optimizers.Adam):
    """Adam of Keras, under its name: variables in checkpoints are called after it."""


class AdamW(_SizeOfStepOnce, keras.optimizers.AdamW):
    """AdamW of Keras, under its name."""
