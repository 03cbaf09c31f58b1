"""Dilated depthwise convolution over time with a fast gradient."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from sepcon.replicas import has_accelerator

_STRIDES = [1, 1, 1, 1]


def depthwise_time_convolution(x: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Filters every channel by itself over time: zero-padded, non-causal, as long as its input.

    Frame t of the folded image [frames / dilation, dilation] has frame t + dilation right below
    it, so the dilated filter is a plain one down the columns and nothing is transposed or copied.
    The gradient with respect to `x` is the same operation with the kernel reversed.

    Args:
      x: [batch, frames, channels] float32.
      kernel: [taps, 1, channels, 1] float32, an odd number of taps, applied as a correlation.
      dilation: frames from tap to tap.

    Returns:
      [batch, frames, channels] float32.
    """

    @tf.custom_gradient
    def operation(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            grad_x = _filter(upstream, tf.reverse(kernel, [0]), dilation)
            by = kernel_gradient_by_taps if has_accelerator() else _kernel_gradient
            return grad_x, by(x, upstream, kernel.shape, dilation)

        return _filter(x, kernel, dilation), gradient

    return operation(x, kernel)


def kernel_gradient_by_taps(
    x: tf.Tensor, upstream: tf.Tensor, shape: tf.TensorShape, dilation: int
) -> tf.Tensor:
    """The gradient with respect to the kernel, as a product and a sum for each tap.

    On a GPU the operation made for it adds up in an order of chance, or is slow where that is
    forbidden, and TensorFlow up to 2.9 refused then. On a CPU that one is faster.

    Args:
      x: [batch, frames, channels] float32, what was filtered.
      upstream: the same shape, the gradient with respect to the result.
      shape: of the kernel, [taps, 1, channels, 1].
      dilation: frames from tap to tap.

    Returns:
      `shape` float32.
    """
    taps, channels = shape[0], shape[2]
    reach = taps // 2 * dilation
    padded = tf.pad(x, [[0, 0], [reach, reach], [0, 0]])
    sums = [
        # Over time first: what is left are few numbers for each channel.
        tf.reduce_sum(
            tf.reduce_sum(tf.slice(padded, [0, tap * dilation, 0], tf.shape(x)) * upstream, axis=1),
            axis=0,
        )
        for tap in range(taps)
    ]
    return tf.reshape(tf.stack(sums), [taps, 1, channels, 1])


def _kernel_gradient(
    x: tf.Tensor, upstream: tf.Tensor, shape: tf.TensorShape, dilation: int
) -> tf.Tensor:
    return tf.nn.depthwise_conv2d_backprop_filter(
        _fold(x, dilation), shape, _fold(upstream, dilation), _STRIDES, "SAME"
    )


def causal_time_convolution(x: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Filters every channel over time, by this frame and earlier ones only.

    It is `depthwise_time_convolution` with its output later by half the reach of the kernel; see
    there for the arguments.

    Args:
      x: [batch, frames, channels] float32.
      kernel: [taps, 1, channels, 1] float32.
      dilation: frames from tap to tap.

    Returns:
      [batch, frames, channels] float32.
    """
    delay = kernel.shape[0] // 2 * dilation
    delayed = tf.pad(x, [[0, 0], [delay, 0], [0, 0]])
    y = tf.slice(depthwise_time_convolution(delayed, kernel, dilation), [0, 0, 0], tf.shape(x))
    return tf.ensure_shape(y, x.shape)


def _filter(x: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    folded = tf.nn.depthwise_conv2d(_fold(x, dilation), kernel, _STRIDES, "SAME")
    shape = tf.shape(x)
    y = tf.reshape(folded, [shape[0], -1, x.shape[2]])
    y = tf.slice(y, [0, 0, 0], shape)
    return tf.ensure_shape(y, x.shape)


def _fold(x: tf.Tensor, dilation: int) -> tf.Tensor:
    """[batch, frames, channels] to [batch, ceil(frames / dilation), dilation, channels]."""
    frames = tf.shape(x)[1] if x.shape[1] is None else x.shape[1]
    x = tf.pad(x, [[0, 0], [0, -frames % dilation], [0, 0]])
    return tf.reshape(x, [tf.shape(x)[0], -1, dilation, x.shape[2]])
