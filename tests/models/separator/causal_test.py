"""The causal separator: nothing comes out that later input could change, beyond one window."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.models.separator.cumulative_norm import cumulative_mean, cumulative_norm
from sepcon.models.separator.mixture_consistency import (
    cumulative_magnitude_squared_weights,
    magnitude_squared_weights,
    weights_of_samples,
)
from sepcon.models.separator.network import Separator, SeparatorConfig
from sepcon.models.separator.time_convolution import causal_time_convolution

CAUSAL = SeparatorConfig(
    num_sources=3, bottleneck=6, conv_channels=8, num_repeats=2, num_dilations=2, causal=True
)
LEARNED = {
    "basis": "learned",
    "window_seconds": 0.0025,
    "hop_seconds": 0.00125,
    "num_coefficients": 10,
}
VARIANTS = [
    *({"norm": norm} for norm in ("instance", "layer", "global")),
    *({"mixture_consistency": weights} for weights in ("magnitude_squared", "uniform")),
    {"skip_residual": True, "kernel_size": 5},
    LEARNED,
    LEARNED | {"norm": "global", "mixture_consistency": "magnitude_squared"},
]
SAMPLES = 3000


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_separator(changes):
    """With weights of which none is at a value that hides what it is multiplied with."""
    keras.utils.set_random_seed(0)
    separator = Separator(dataclasses.replace(CAUSAL, **changes))
    for number, variable in enumerate(separator.trainable_variables):
        variable.assign_add(0.3 * normal(*variable.shape, seed=number))
    return separator


def first_change(separator, sample):
    """The first output that another mixture from `sample` on changes."""
    mixture = normal(1, SAMPLES)
    other = mixture.copy()
    other[:, sample:] = 3.0 * normal(1, SAMPLES - sample, seed=1)
    difference = np.abs(separator(mixture) - separator(other)).max(axis=(0, 1))
    return int(np.argmax(difference > 1e-4))


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_no_output_changes_more_than_a_window_before_the_input(changes):
    separator = random_separator(changes)
    latency = separator.config.window_samples - 1
    for sample in (1000, 1777):
        assert sample - latency <= first_change(separator, sample) <= sample


def test_without_the_option_the_whole_clip_changes():
    assert first_change(random_separator({"causal": False}), 1777) < 100


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_growing_prefixes_give_the_samples_of_the_whole(changes):
    separator = random_separator(changes)
    latency = separator.config.window_samples - 1
    mixture = normal(2, SAMPLES)
    whole = separator(mixture)
    streamed, length = np.zeros([2, 3, 0], np.float32), 700
    while streamed.shape[2] < SAMPLES - latency:
        final = separator(mixture[:, :length])[:, :, streamed.shape[2] : length - latency]
        streamed = np.concatenate([streamed, final], axis=2)
        length += 601
    np.testing.assert_allclose(streamed, whole[:, :, : streamed.shape[2]], atol=1e-4)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_sources_sum_to_the_mixture_in_training_and_in_use(changes):
    separator, mixture = random_separator(changes), normal(2, SAMPLES)
    sources = separator(mixture, training=True)
    np.testing.assert_allclose(tf.reduce_sum(sources, axis=1), mixture, atol=1e-4)
    unknown = tf.function(separator, autograph=False, input_signature=[tf.TensorSpec([None, None])])
    np.testing.assert_allclose(unknown(mixture), sources, atol=1e-4)


def test_every_weight_is_trained():
    separator, mixture = random_separator({"norm": "global"}), normal(1, SAMPLES)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(separator(mixture, training=True)[:, 0]))
    variables = [variable.value for variable in separator.trainable_variables]
    gradients = tape.gradient(loss, variables)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_option_has_no_weights_of_its_own():
    causal, plain = Separator(CAUSAL), Separator(dataclasses.replace(CAUSAL, causal=False))
    assert [v.path for v in causal.variables] == [v.path for v in plain.variables]


@pytest.mark.parametrize("over_channels", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("offset, frames", [(0.0, 9), (30.0, 9), (3.0, 70)])
def test_cumulative_norm_is_that_of_every_beginning(over_channels, compiled, offset, frames):
    x = tf.constant(normal(2, frames, 4) + np.float32(offset))
    options = {"over_channels": over_channels, "compiled": compiled}
    got = cumulative_norm(x, gain=tf.constant(1.3), bias=tf.constant(-0.2), **options)
    axes = (1, 2) if over_channels else (1,)
    for t in range(frames):
        start = np.float64(x[:, : t + 1])
        mean, variance = start.mean(axis=axes), start.var(axis=axes)
        if over_channels:
            mean, variance = mean[:, np.newaxis], variance[:, np.newaxis]
        expected = 1.3 * (x[:, t] - mean) / np.sqrt(variance + 1e-3) - 0.2
        np.testing.assert_allclose(got[:, t], expected, atol=1e-3)


def test_cumulative_norm_has_the_gradient_of_finite_differences():
    exact, numeric = tf.test.compute_gradient(
        lambda x: cumulative_norm(x, gain=1.3, bias=-0.2, over_channels=False),
        [tf.constant(normal(1, 5, 2))],
        delta=1e-2,
    )
    np.testing.assert_allclose(exact[0], numeric[0], atol=0.02)


def test_cumulative_mean_is_that_of_every_beginning():
    x = normal(2, 70, 4)
    expected = np.stack([x[:, : t + 1].mean(axis=1) for t in range(70)], axis=1)
    np.testing.assert_allclose(cumulative_mean(x), expected, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 4, 16])
@pytest.mark.parametrize("taps", [1, 3, 5])
def test_causal_convolution_is_a_sum_of_earlier_frames(dilation, taps):
    x, kernel = normal(2, 13, 3), normal(taps, 1, 3, 1, seed=1)
    expected = np.zeros_like(x)
    for t in range(13):
        for tap in range(taps):
            source = t - (taps - 1 - tap) * dilation
            if source >= 0:
                expected[:, t] += kernel[tap, 0, :, 0] * x[:, source]
    got = causal_time_convolution(tf.constant(x), tf.constant(kernel), dilation)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_cumulative_weights_end_as_those_of_the_whole():
    estimate = normal(2, 3, 50)
    got = cumulative_magnitude_squared_weights(estimate)
    for samples in (1, 20, 50):
        expected = magnitude_squared_weights(estimate[:, :, :samples])
        np.testing.assert_allclose(got[:, :, samples - 1], expected, rtol=1e-4)


def test_samples_have_the_weights_of_the_last_frame_that_has_begun():
    weights = np.float32([[[0.1], [0.2], [0.3]]])
    got = weights_of_samples(weights, hop_samples=2, num_samples=8)
    np.testing.assert_allclose(got[0, 0], [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3])
