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
      weights: [batch, source] or [batch, source, samples] float32 (or broadcasting to it), summing
        to 1 over the sources.

    Returns:
      [batch, source, samples] float32, summing to `mixture` within rounding.
    """
    missing = mixture - tf.reduce_sum(estimate, axis=1)  # [batch, samples]
    weights = tf.convert_to_tensor(weights)
    if weights.shape.rank == 2:
        weights = weights[:, :, tf.newaxis]
    return estimate + weights * missing[:, tf.newaxis, :]


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


def cumulative_magnitude_squared_weights(estimate: tf.Tensor) -> tf.Tensor:
    """Weights by each source's share of the energy up to each sample, which see nothing ahead.

    Args:
      estimate: [batch, source, samples] float32.

    Returns:
      [batch, source, samples] float32, summing to 1 over the sources; at the last sample those of
      `magnitude_squared_weights`.
    """
    samples = tf.shape(estimate)[2] if estimate.shape[2] is None else estimate.shape[2]
    count = tf.cast(tf.range(1, samples + 1), tf.float32)
    power = _STABILIZER + tf.cumsum(tf.square(estimate), axis=2) / count
    return power / tf.reduce_sum(power, axis=1, keepdims=True)


def weights_of_samples(
    weights: tf.Tensor, *, hop_samples: int, num_samples: tf.Tensor | int
) -> tf.Tensor:
    """Gives each sample the weights of the last frame that has begun.

    Args:
      weights: [batch, frames, source] float32.
      hop_samples: from frame to frame.
      num_samples: how many samples there are; those behind the last frame keep its weights.

    Returns:
      [batch, source, samples] float32.
    """
    last = (tf.shape(weights)[1] if weights.shape[1] is None else weights.shape[1]) - 1
    frame = tf.minimum(tf.range(-(-num_samples // hop_samples)), last)
    weights = tf.transpose(tf.gather(weights, frame, axis=1), [0, 2, 1])
    repeated = tf.repeat(weights, hop_samples, axis=2)
    return tf.slice(repeated, [0, 0, 0], [-1, -1, num_samples])
