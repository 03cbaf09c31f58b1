"""Mixture consistency: what makes the separated sources sum to the mixture.

Wisdom et al. 2018, "Differentiable consistency constraints for improved deep speech enhancement".
"""

from __future__ import annotations

import tensorflow as tf

_STABILIZER = 1e-8


def enforce_mixture_consistency(
    *, mixture: tf.Tensor, estimate: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """Gives every source its weight's share of what the sources together lack of the mixture.

    Args:
      mixture: [batch, samples] float32.
      estimate: [batch, source, samples] float32, the separated sources.
      weights: [batch, source] float32 (or broadcasting to it), summing to 1 over the sources.

    Returns:
      [batch, source, samples] float32, summing to `mixture` within rounding.
    """
    missing = mixture - tf.reduce_sum(estimate, axis=1)  # [batch, samples]
    return estimate + weights[:, :, tf.newaxis] * missing[:, tf.newaxis, :]


def uniform_weights(num_sources: int) -> tf.Tensor:
    """The same weight for each source: [1, source] float32."""
    return tf.fill([1, num_sources], 1.0 / num_sources)


def magnitude_squared_weights(estimate: tf.Tensor) -> tf.Tensor:
    """Weights by each source's share of the energy.

    Args:
      estimate: [batch, source, samples] float32.

    Returns:
      [batch, source] float32, summing to 1 over the sources; equal ones where all is silent.
    """
    power = _STABILIZER + tf.reduce_mean(tf.square(estimate), axis=-1)
    return power / tf.reduce_sum(power, axis=-1, keepdims=True)
