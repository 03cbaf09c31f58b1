"""Normalisation that does not look ahead: every frame with the statistics of those up to it.

The form that Luo and Mesgarani 2019, "Conv-TasNet", section II-C, give the global norm for causal
networks; here for the norm over time per channel as well.
"""

from __future__ import annotations

import tensorflow as tf

from sepcon.replicas import xla_island

# That of the norms which see the whole clip.
_EPSILON = 1e-3

_BLOCK = 32  # frames


def cumulative_norm(
    x: tf.Tensor,
    *,
    gain: tf.Tensor,
    bias: tf.Tensor,
    over_channels: bool,
    compiled: bool = False,
) -> tf.Tensor:
    """Normalises each frame by mean and variance of all frames up to it.

    The last frame comes out as from the norm of the whole. What is summed are squares of distances
    from the mean so far (Welford 1962, "Note on a method for calculating corrected sums of squares
    and products"): a mean of squares would cancel where activations are far from zero.

    Args:
      x: [batch, frames, channels] float32.
      gain: [] float32.
      bias: [] float32.
      over_channels: whether statistics are taken over channels too (the norm called `global`), or
        for each channel by itself (`instance`).
      compiled: whether XLA compiles the operation (once per shape of `x`).

    Returns:
      [batch, frames, channels] float32.
    """
    operation = _norm_compiled if compiled else _norm
    return operation(x, gain, bias, over_channels)


def _norm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, over_channels: bool) -> tf.Tensor:
    frame_mean, frame_variance = x, tf.zeros_like(x[:1, :1, :1])
    if over_channels:
        frame_mean, frame_variance = tf.nn.moments(x, [2], keepdims=True)  # [batch, frames, 1]
    count = _counts(x)  # [frames, 1]
    mean = _sums_so_far(frame_mean) / count
    # The mean before the frame is as far from that with it as this factor tells.
    factor = count / tf.maximum(count - 1.0, 1.0)
    distance = factor * tf.square(frame_mean - mean)
    variance = _sums_so_far(frame_variance + distance) / count
    return gain * (x - mean) * tf.math.rsqrt(variance + _EPSILON) + bias


def cumulative_mean(x: tf.Tensor) -> tf.Tensor:
    """The mean of all frames up to each, [batch, frames, channels] float32."""
    return _sums_so_far(x) / _counts(x)


def _sums_so_far(x: tf.Tensor) -> tf.Tensor:
    """The sum of all frames up to each, [batch, frames, channels].

    Within blocks as a product with a triangle of ones: on a CPU a cumulative sum over all frames
    takes over ten times as long, and slices as `x[:, :n]` have a slow gradient.
    """
    batch = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
    num_blocks = -(-_num_frames(x) // _BLOCK)
    padded = tf.pad(x, [[0, 0], [0, num_blocks * _BLOCK - _num_frames(x)], [0, 0]])
    blocks = tf.reshape(padded, [batch * num_blocks, _BLOCK, x.shape[2]])
    triangle = tf.linalg.band_part(tf.ones([_BLOCK, _BLOCK], x.dtype), -1, 0)
    within = tf.matmul(tf.broadcast_to(triangle, [batch * num_blocks, _BLOCK, _BLOCK]), blocks)
    totals = tf.reshape(tf.reduce_sum(blocks, axis=1), [batch, num_blocks, 1, x.shape[2]])
    sums = tf.reshape(within, [batch, num_blocks, _BLOCK, x.shape[2]])
    sums += tf.cumsum(totals, axis=1, exclusive=True)
    sums = tf.slice(tf.reshape(sums, [batch, -1, x.shape[2]]), [0, 0, 0], tf.shape(x))
    return tf.ensure_shape(sums, x.shape)


def _counts(x: tf.Tensor) -> tf.Tensor:
    """1, 2 ... up to the number of frames, [frames, 1] float32."""
    return tf.cast(tf.range(1, _num_frames(x) + 1)[:, tf.newaxis], tf.float32)


def _num_frames(x: tf.Tensor) -> tf.Tensor | int:
    return tf.shape(x)[1] if x.shape[1] is None else x.shape[1]


_norm_compiled = xla_island(_norm)
