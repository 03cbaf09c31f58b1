"""The operations inside TDCN++ against numpy loops and TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from sepcon.models.separator.prelu_norm import prelu_norm
from sepcon.models.separator.tdcn import ScaledDense, Tdcn
from sepcon.models.separator.time_convolution import depthwise_time_convolution

SLOPE, GAIN, BIAS = 0.1, 1.3, -0.2


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def plain_prelu_norm(x, slope, gain, bias, axes):
    y = tf.maximum(x, 0.0) + slope * tf.minimum(x, 0.0)
    mean, variance = tf.nn.moments(y, axes, keepdims=True)
    return gain * (y - mean) / tf.sqrt(variance + 1e-3) + bias


@pytest.mark.parametrize("norm, axes", [("instance", [1]), ("layer", [2]), ("global", [1, 2])])
@pytest.mark.parametrize("compiled", [False, True])
def test_prelu_norm_and_its_gradients(norm, axes, compiled):
    # Far from zero in places, where a variance from sums of squares would cancel.
    inputs = [normal(2, 7, 5) + 30 * normal(1, 1, 5), SLOPE, GAIN, BIAS]
    inputs = [tf.constant(value) for value in inputs]
    upstream = normal(2, 7, 5, seed=1)

    def ours(x, slope, gain, bias):
        return prelu_norm(x, slope=slope, gain=gain, bias=bias, norm=norm, compiled=compiled)

    results = []
    for function in (ours, lambda *values: plain_prelu_norm(*values, axes)):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = function(*inputs)
        results.append([y, *tape.gradient(y, inputs, upstream)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("frames", [1, 3, 8, 13])
@pytest.mark.parametrize("dilation", [1, 2, 4, 16])
@pytest.mark.parametrize("taps", [3, 5])
def test_time_convolution_is_a_sum_of_shifted_frames(frames, dilation, taps):
    x, kernel = normal(2, frames, 3), normal(taps, 1, 3, 1, seed=1)
    expected = np.zeros_like(x)
    for t in range(frames):
        for tap in range(taps):
            source = t + (tap - taps // 2) * dilation
            if 0 <= source < frames:
                expected[:, t] += kernel[tap, 0, :, 0] * x[:, source]
    got = depthwise_time_convolution(tf.constant(x), tf.constant(kernel), dilation)
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("dilation", [1, 4])
def test_time_convolution_gradient_is_that_of_tensorflow(monkeypatch, dilation, accelerator):
    monkeypatch.setattr("sepcon.replicas._assumed", accelerator)
    x, kernel = tf.constant(normal(2, 10, 3)), tf.constant(normal(3, 1, 3, 1, seed=1))
    upstream = normal(2, 10, 3, seed=2)

    def theirs(x, kernel):
        image = x[:, :, tf.newaxis]
        y = tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], "SAME", dilations=[dilation, 1])
        return y[:, :, 0]

    results = []
    for function in (lambda a, b: depthwise_time_convolution(a, b, dilation), theirs):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = function(x, kernel)
        results.append(tape.gradient(y, [x, kernel], upstream))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_scaled_dense_multiplies_bias_and_product():
    layer = ScaledDense(4, 3, use_bias=True, scale=0.5)
    layer.bias.assign([1.0, 2.0, 3.0])
    x = normal(2, 5, 4)
    expected = 0.5 * (x @ layer.kernel.numpy() + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_rounds_what_a_product_takes_and_gives():
    def rounded(x):
        return tf.cast(tf.cast(x, tf.bfloat16), tf.float32).numpy()

    layer = ScaledDense(64, 8, matmul_dtype="bfloat16")
    x = normal(2, 5, 64)
    got = layer(tf.constant(x))
    assert got.dtype == tf.float32
    np.testing.assert_array_equal(got, rounded(got))
    exact = rounded(x).astype(np.float64) @ rounded(layer.kernel)
    np.testing.assert_allclose(got, exact, rtol=2**-8, atol=1e-5)
    assert np.max(np.abs(got - x @ layer.kernel.numpy())) > 1e-4


@pytest.mark.parametrize("skip_residual, num_pairs", [(False, 0), (True, 3)])
def test_skips_join_the_inputs_of_all_pairs_of_repeats(skip_residual, num_pairs):
    tdcn = Tdcn(
        6,
        bottleneck=4,
        conv_channels=5,
        num_repeats=3,
        num_dilations=2,
        kernel_size=3,
        norm="global",
        block_scale="exponential",
        skip_residual=skip_residual,
        matmul_dtype="float32",
    )
    assert len(tdcn.skips) == num_pairs
    assert set(tdcn.skips) <= {"0_to_2", "0_to_4", "2_to_4"}
    np.testing.assert_allclose([b.dense2.scale.numpy() for b in tdcn.blocks], 0.9 ** np.arange(6))
    assert tdcn(normal(2, 7, 6)).shape == (2, 7, 4)
