"""Any sample rate: the channels sum to the mixture, and the band above goes where it belongs."""

import numpy as np
import pytest
import soxr

from sepcon.separation.any_rate import at_rate, local_shares, share_residual

RATES = [1000, 8000, 8191, 11025, 16000, 22050, 44100, 44101, 48000, 96000, 192000]


def tone(frequency_hz, rate_hz, seconds=1.0):
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def halves(window):
    """A separator at 16 kHz of two channels: below 2 kHz and above, by the Fourier transform."""
    spectrum = np.fft.rfft(window)
    low = np.fft.rfftfreq(len(window), 1 / 16000) < 2000
    parts = [np.fft.irfft(spectrum * chosen, len(window)) for chosen in (low, ~low)]
    return np.stack(parts).astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("length", [1, 2, 3, 50, 5000])
def test_channels_sum_to_the_mixture(rate_hz, length):
    mixture = np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)
    channels = at_rate(halves, model_rate_hz=16000, rate_hz=rate_hz)(mixture)
    assert channels.shape == (2, length)
    assert channels.dtype == np.float32
    np.testing.assert_allclose(channels.sum(axis=0), mixture, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000, 192000])
def test_channels_are_in_place_at_the_rate_of_the_recording(rate_hz):
    """Tones that the separator tells apart come out as the analytic tones."""
    low, high = tone(440, rate_hz), tone(3100, rate_hz)
    channels = at_rate(halves, model_rate_hz=16000, rate_hz=rate_hz)(low + high)
    # The ends ring where the tones begin and stop.
    inside = slice(rate_hz // 10, -rate_hz // 10)
    np.testing.assert_allclose(channels[0, inside], low[inside], atol=2e-3)
    np.testing.assert_allclose(channels[1, inside], high[inside], atol=2e-3)


def test_at_its_own_rate_a_separator_is_left_alone():
    mixture = np.random.default_rng(1).uniform(-1, 1, 4000).astype(np.float32)
    expected = halves(mixture)
    channels = at_rate(halves, model_rate_hz=16000, rate_hz=16000)(mixture)
    np.testing.assert_allclose(channels, expected, atol=1e-6)


def test_the_band_above_goes_with_the_channel_that_hisses():
    """A low tone and noise over the whole band of 48 kHz: what lies over 8 kHz is the noise's."""
    hiss = (0.1 * np.random.default_rng(2).standard_normal(48000)).astype(np.float32)
    low = tone(300, 48000)
    channels = at_rate(halves, model_rate_hz=16000, rate_hz=48000)(low + hiss)
    above = [np.abs(np.fft.rfft(channel)[9000:]) ** 2 for channel in channels]
    assert above[0].sum() < 1e-3 * above[1].sum()


def test_shares_follow_the_moment():
    first, second = np.zeros([2, 3200], np.float32)
    noise = np.random.default_rng(3).standard_normal(1600).astype(np.float32)
    first[:1600], second[1600:] = noise, noise
    shares = local_shares(np.stack([first, second]), frame_samples=160)
    np.testing.assert_allclose(shares.sum(axis=0), 1.0, atol=1e-6)
    assert shares[0, :9].min() > 0.99
    assert shares[1, 11:].min() > 0.99


def test_silence_is_shared_equally():
    shares = local_shares(np.zeros([4, 1000], np.float32), frame_samples=512)
    np.testing.assert_allclose(shares, 0.25)


def test_the_residual_by_hand():
    mixture = np.asarray([1.0, 1.0, 1.0, 1.0], np.float32)
    channels = np.zeros([2, 4], np.float32)
    shares = np.asarray([[1.0, 0.0], [0.0, 1.0]], np.float32)
    share_residual(mixture, channels, shares=shares, frame_samples=2.0)
    # The middles of the frames lie at 1 and 3.
    np.testing.assert_allclose(channels, [[1.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.5, 1.0]])


def test_resampling_is_that_of_soxr():
    mixture = np.random.default_rng(4).uniform(-1, 1, 9000).astype(np.float32)
    heard = []

    def separate_window(window):
        heard.append(window)
        return window[np.newaxis]

    at_rate(separate_window, model_rate_hz=16000, rate_hz=44100)(mixture)
    np.testing.assert_array_equal(heard[0], soxr.resample(mixture, 44100, 16000, quality="HQ"))
