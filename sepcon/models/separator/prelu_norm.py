"""PReLU followed by normalisation, as one operation with a gradient written by hand.

A TDCN++ block applies this pair twice to its widest activations, where plain TensorFlow makes
about fifteen passes over memory, forward and backward. Here the forward pass keeps nothing but
its input and the statistics, and both directions can be compiled by XLA as small islands: a
compiled function around a convolution or the whole network would be slower on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from sepcon.replicas import xla_island

NORM_AXES = {"instance": (1,), "layer": (2,), "global": (1, 2)}
_EPSILON = 1e-3


def prelu_norm(
    x: tf.Tensor,
    *,
    slope: tf.Tensor,
    gain: tf.Tensor,
    bias: tf.Tensor,
    norm: str,
    compiled: bool,
) -> tf.Tensor:
    """PReLU with one shared slope, then normalisation with one shared gain and bias.

    Kavalerov et al. 2019, "Universal sound separation": TDCN++ normalises over time per channel.

    Args:
      x: [batch, frames, channels] float32.
      slope: [] float32, what negative inputs are multiplied by.
      gain: [] float32.
      bias: [] float32.
      norm: over what mean and variance are taken: `instance` (frames), `layer` (channels) or
        `global` (both).
      compiled: whether XLA compiles the operation (once per shape of `x`).

    Returns:
      [batch, frames, channels] float32.
    """
    axes = NORM_AXES[norm]
    forward = _forward_compiled if compiled else _forward
    backward = _backward_compiled if compiled else _backward

    @tf.custom_gradient
    def operation(
        x: tf.Tensor, slope: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, Callable]:
        y, mean, inverse_deviation = forward(x, slope, gain, bias, axes)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return backward(upstream, x, slope, gain, mean, inverse_deviation, axes)

        return y, gradient

    return operation(x, slope, gain, bias)


def _prelu(x: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    return tf.maximum(x, 0.0) + slope * tf.minimum(x, 0.0)


def _mean(x: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """Mean over `axes`, which stay as axes of length one."""
    if axes != (1,):
        return tf.reduce_mean(x, axes, keepdims=True)
    # A sum over the frames strides through memory; as a matrix product it runs at full speed.
    ones = tf.ones_like(x[:, :1, :1]) + tf.zeros_like(x[:, :, 0])[:, tf.newaxis, :]
    return tf.matmul(ones, x) / tf.cast(tf.shape(x)[1], x.dtype)  # [batch, 1, channels]


def _forward(
    x: tf.Tensor, slope: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, axes: tuple[int, ...]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    activated = _prelu(x, slope)
    mean = _mean(activated, axes)
    variance = _mean(tf.square(activated - mean), axes)
    inverse_deviation = tf.math.rsqrt(variance + _EPSILON)
    scale = gain * inverse_deviation
    return activated * scale + (bias - mean * scale), mean, inverse_deviation


def _backward(
    upstream: tf.Tensor,
    x: tf.Tensor,
    slope: tf.Tensor,
    gain: tf.Tensor,
    mean: tf.Tensor,
    inverse_deviation: tf.Tensor,
    axes: tuple[int, ...],
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    normalised = (_prelu(x, slope) - mean) * inverse_deviation
    mean_upstream = _mean(upstream, axes)
    mean_product = _mean(upstream * normalised, axes)
    group_size = tf.cast(tf.size(x) / tf.size(mean), x.dtype)
    grad_activated = (gain * inverse_deviation) * (
        upstream - mean_upstream - normalised * mean_product
    )
    grad_x = tf.where(x > 0.0, grad_activated, slope * grad_activated)
    grad_slope = tf.reduce_sum(grad_activated * tf.minimum(x, 0.0))
    grad_gain = group_size * tf.reduce_sum(mean_product)
    grad_bias = group_size * tf.reduce_sum(mean_upstream)
    return grad_x, grad_slope, grad_gain, grad_bias


_forward_compiled = xla_island(_forward)
_backward_compiled = xla_island(_backward)
