"""The ends of the scale: the mixture improves nothing, ideal masks a great deal."""

import numpy as np
import pytest
import tensorflow as tf

from sepcon.metrics.separation import si_snr_improvement
from sepcon.separation.references import copied_mixture, ideal_ratio_masks


def scene(samples=4000):
    """Two tones far apart, and noise: [1, source, samples] and their sum [1, samples]."""
    time = np.arange(samples) / 16000
    tones = [np.sin(2 * np.pi * hz * time) for hz in (500, 3000)]
    noise = 0.1 * np.random.default_rng(0).standard_normal(samples)
    sources = np.float32(np.stack([*tones, noise, np.zeros(samples)]))[np.newaxis]
    return sources.sum(axis=1), sources


def improvement(separate, mixture, sources):
    channels = separate(tf.constant(mixture), tf.constant(sources)).numpy()
    scores = si_snr_improvement(reference=sources[0], estimate=channels[0], mixture=mixture[0])
    return scores.improvement_db


def test_the_mixture_in_every_channel_improves_nothing():
    np.testing.assert_allclose(improvement(copied_mixture, *scene()), 0, atol=1e-3)


@pytest.mark.parametrize("samples", [300, 4000, 4001])
def test_ideal_masks_are_numpys_and_sum_to_the_mixture(samples):
    mixture, sources = scene(samples)
    channels = ideal_ratio_masks(tf.constant(mixture), tf.constant(sources)).numpy()
    np.testing.assert_allclose(channels.sum(axis=1), mixture, atol=1e-5)
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512))
    expected = np.zeros((4, samples + 1024))
    padded = np.pad(np.concatenate([sources[0], mixture]), [(0, 0), (384, 640)])
    for start in range(0, samples + 384, 128):
        spectra = np.fft.rfft(window * padded[:, start : start + 512])
        mask = np.abs(spectra[:4]) / (np.abs(spectra[:4]).sum(axis=0) + 1e-12)
        # The squares of the overlapping windows sum to two.
        expected[:, start : start + 512] += window * np.fft.irfft(mask * spectra[4]) / 2
    np.testing.assert_allclose(channels[0], expected[:, 384 : 384 + samples], atol=1e-4)


def test_ideal_masks_separate_what_does_not_overlap():
    gains = improvement(ideal_ratio_masks, *scene(16000))
    assert (gains[:2] > 15).all()
    assert gains[2] > 5


def test_a_single_source_is_the_mixture():
    _, sources = scene()
    alone = sources * np.float32([1, 0, 0, 0])[:, np.newaxis]
    channels = ideal_ratio_masks(tf.constant(alone.sum(axis=1)), tf.constant(alone)).numpy()
    np.testing.assert_allclose(channels, alone, atol=1e-5)
