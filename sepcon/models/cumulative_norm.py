"""Normalisation that does not look ahead: every frame with the statistics of those up to it.

The form that Luo and Mesgarani 2019, "Conv-TasNet", section II-C, give the global norm for causal
networks; here for the norm over time per channel as well.
"""

from __future__ import annotations

import tensorflow as tf

# That of the norms which see the whole clip.
_EPSILON = 1e-3


def cumulative_norm(
    x: tf.Tensor, *, gain: tf.Tensor, bias: tf.Tensor, over_channels: bool
) -> tf.Tensor:
    """Normalises each frame by mean and variance of all frames up to it.

    The last frame comes out as from the norm of the whole. Squares are summed as distances from the
    mean so far (Chan et al. 1983, "Algorithms for computing the sample variance"): a mean of
    squares would cancel where activations are far from zero.

    Args:
      x: [batch, frames, channels] float32.
      gain: [] float32.
      bias: [] float32.
      over_channels: whether statistics are taken over channels too (the norm called `global`), or
        for each channel by itself (`instance`).

    Returns:
      [batch, frames, channels] float32.
    """
    frame_mean, frame_variance = x, tf.zeros_like(x[:1, :1, :1])
    if over_channels:
        frame_mean, frame_variance = tf.nn.moments(x, [2], keepdims=True)  # [batch, frames, 1]
    count = _counts(x)  # [frames, 1]
    mean = tf.cumsum(frame_mean, axis=1) / count
    before = tf.pad(mean[:, :-1], [[0, 0], [1, 0], [0, 0]])  # the mean without the frame
    distance = (count - 1.0) / count * tf.square(frame_mean - before)
    variance = tf.cumsum(frame_variance + distance, axis=1) / count
    return gain * (x - mean) * tf.math.rsqrt(variance + _EPSILON) + bias


def cumulative_mean(x: tf.Tensor) -> tf.Tensor:
    """The mean of all frames up to each, [batch, frames, channels] float32."""
    return tf.cumsum(x, axis=1) / _counts(x)


def _counts(x: tf.Tensor) -> tf.Tensor:
    """1, 2 ... up to the number of frames, [frames, 1] float32."""
    frames = tf.shape(x)[1] if x.shape[1] is None else x.shape[1]
    return tf.cast(tf.range(1, frames + 1)[:, tf.newaxis], tf.float32)
