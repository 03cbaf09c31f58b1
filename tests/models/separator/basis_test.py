"""Bases against tf.signal, and the gradients written by hand against TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf

from sepcon.models.separator.basis import LearnedBasis, StftBasis, frame, overlap_add

WINDOW, HOP = 32, 8
# As at 22.05 kHz, where 2.5, 8 and 32 ms are no whole numbers of samples.
ODD_WINDOW, ODD_HOP = 27, 7
SIZES = [(WINDOW, HOP), (ODD_WINDOW, ODD_HOP), (32, 15), (27, 14)]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sqrt_hann(length, dtype=tf.float32):
    return tf.sqrt(tf.signal.hann_window(length, periodic=True, dtype=dtype))


def plain_decode(logits, spectrum, window, hop, samples):
    masked = tf.cast(tf.sigmoid(logits), tf.complex64) * spectrum[:, :, tf.newaxis]
    window_fn = tf.signal.inverse_stft_window_fn(hop, sqrt_hann)
    waveform = tf.signal.inverse_stft(
        tf.transpose(masked, [0, 2, 1, 3]), window, hop, WINDOW, window_fn
    )
    return waveform[..., :samples]


@pytest.mark.parametrize("window, hop", SIZES)
@pytest.mark.parametrize("samples", [1, 8, 31, 32, 33, 100])
def test_stft_is_that_of_tf_signal(window, hop, samples):
    mixture = normal(2, samples)
    expected = tf.signal.stft(mixture, window, hop, WINDOW, sqrt_hann, pad_end=True)
    got = StftBasis(window_samples=window, hop_samples=hop).encode(tf.constant(mixture))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("window, hop", SIZES)
@pytest.mark.parametrize("compiled", [False, True])
def test_stft_decode_and_its_gradient(window, hop, compiled):
    basis = StftBasis(window_samples=window, hop_samples=hop)
    spectrum = basis.encode(tf.constant(normal(2, 100)))
    logits = tf.constant(normal(2, spectrum.shape[1], 3, WINDOW // 2 + 1))
    results = []
    for decode in (
        lambda x: basis.decode(x, spectrum, 100, compiled),
        lambda x: plain_decode(x, spectrum, window, hop, 100),
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            waveform = decode(logits)
        results.append((waveform, tape.gradient(waveform, logits, normal(2, 3, 100, seed=1))))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_open_masks_give_the_mixture_back_behind_its_first_window():
    basis = StftBasis(window_samples=WINDOW, hop_samples=HOP)
    mixture = normal(2, 100)
    spectrum = basis.encode(tf.constant(mixture))
    logits = tf.fill([2, 13, 1, WINDOW // 2 + 1], 30.0)
    got = basis.decode(logits, spectrum, 100, compiled=False)[:, 0]
    np.testing.assert_allclose(got[:, WINDOW:], mixture[:, WINDOW:], atol=1e-5)


def test_features_are_normalised_magnitudes_of_each_clip():
    basis = StftBasis(window_samples=WINDOW, hop_samples=HOP)
    spectrum = basis.encode(tf.constant(normal(2, 200) * np.float32([[1.0], [50.0]])))
    magnitude = np.abs(spectrum)
    for got, clip in zip(basis.features(spectrum), magnitude, strict=True):
        expected = (clip - clip.mean()) / np.sqrt(clip.var() + 1e-3)
        np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("window, hop", [(16, 8), (ODD_WINDOW, ODD_HOP)])
@pytest.mark.parametrize("samples", [1, 15, 16, 17, 64])
def test_learned_basis_against_loops(window, hop, samples):
    basis = LearnedBasis(window_samples=window, hop_samples=hop, num_coefficients=5)
    mixture, encoder, decoder = normal(1, samples), basis.encoder.numpy(), basis.decoder.numpy()
    num_frames = max(1, 1 + -(-(samples - window) // hop))
    padded = np.pad(mixture[0], [0, window + hop * num_frames])
    logits = normal(1, num_frames, 2, 5, seed=1)
    expected = np.zeros([2, window + hop * num_frames])
    for f in range(num_frames):
        part = slice(hop * f, hop * f + window)
        coefficients = np.maximum(padded[part] @ encoder, 0)
        for m in range(2):
            mask = 1 / (1 + np.exp(-logits[0, f, m]))
            expected[m, part] += (mask * coefficients) @ decoder
    coefficients = basis.encode(tf.constant(mixture))
    got = basis.decode(tf.constant(logits), coefficients, samples, compiled=False)
    np.testing.assert_allclose(got[0], expected[:, :samples], atol=1e-5)


@pytest.mark.parametrize("window", [16, 15])
def test_overlap_add_is_the_transpose_of_frame(window):
    waveform, frames = normal(2, 40), normal(2, 7, 1, window, seed=1)
    there = np.sum(frame(tf.constant(waveform), window, 4, 7)[:, :, np.newaxis] * frames)
    back = np.sum(overlap_add(tf.constant(frames), 4)[:, 0] * waveform)
    np.testing.assert_allclose(there, back, rtol=1e-4)
