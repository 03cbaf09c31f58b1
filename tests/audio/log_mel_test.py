"""The log-mel spectrogram against loops, scipy and TensorFlow's own mel matrix."""

import math

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.audio.log_mel import LogMel, mel_weights


def mel_of(hz: float) -> float:
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def triangle(hz: float, lower: float, centre: float, upper: float) -> float:
    mel = mel_of(hz)
    if mel <= lower or mel >= upper:
        return 0.0
    if mel <= centre:
        return (mel - lower) / (centre - lower)
    return (upper - mel) / (upper - centre)


def log_mel_by_loops(config: LogMel, waveform: np.ndarray) -> np.ndarray:
    """Float64, one frame and one band at a time."""
    window = round(config.window_seconds * config.sample_rate_hz)
    hop = round(config.hop_seconds * config.sample_rate_hz)
    size = 2 ** math.ceil(math.log2(window))
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / window) for n in range(window)])
    step = (mel_of(config.max_hz) - mel_of(config.min_hz)) / (config.num_mels + 1)
    edges = [mel_of(config.min_hz) + step * i for i in range(config.num_mels + 2)]
    rows = []
    start = 0
    while start + window <= len(waveform):
        frame = waveform[start : start + window].astype(np.float64) * hann
        power = np.abs(scipy.fft.rfft(frame, n=size)) ** 2
        row = []
        for band in range(config.num_mels):
            total = 0.0
            for k in range(1, len(power)):
                hz = k * config.sample_rate_hz / size
                total += power[k] * triangle(hz, *edges[band : band + 3])
            row.append(math.log(total + config.floor))
        rows.append(row)
        start += hop
    return np.array(rows)


@pytest.mark.parametrize(
    "config",
    [
        LogMel(),
        LogMel(sample_rate_hz=8000, max_hz=4000, num_mels=23, hop_seconds=0.0123, floor=1e-6),
    ],
)
def test_equals_loops_over_frames_and_bands(config):
    waveform = np.random.default_rng(0).normal(0, 0.1, 1300).astype(np.float32)
    expected = log_mel_by_loops(config, waveform)
    actual = config(tf.constant(waveform)).numpy()
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


def test_mel_weights_equal_those_of_tensorflow():
    ours = mel_weights(num_mels=64, num_bins=257, sample_rate_hz=16000, min_hz=60.0, max_hz=7800.0)
    theirs = tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 60.0, 7800.0)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert (ours.sum(axis=0) > 0).all(), "a band without a single bin"


def test_silence_lies_at_the_floor():
    silence = LogMel(floor=1e-3)(tf.zeros([2, 4000]))
    np.testing.assert_allclose(silence, math.log(1e-3), atol=1e-5)


def test_louder_by_ten_decibel_is_ln_ten_higher():
    waveform = np.random.default_rng(1).normal(0, 0.1, 4000).astype(np.float32)
    config = LogMel(floor=1e-9)
    np.testing.assert_allclose(
        config(waveform * math.sqrt(10.0)) - config(waveform), math.log(10.0), atol=1e-3
    )


def test_a_tone_peaks_in_the_band_around_it():
    config = LogMel()
    tone = 0.1 * np.sin(2 * np.pi * 1000.0 * np.arange(8000) / 16000).astype(np.float32)
    edges = np.linspace(mel_of(60.0), mel_of(7800.0), 66)
    nearest = int(np.argmin(np.abs(edges[1:-1] - mel_of(1000.0))))
    assert (config(tone).numpy().argmax(axis=-1) == nearest).all()


@pytest.mark.parametrize("shape", [[1600], [3, 1600], [2, 3, 1600]])
def test_leading_dimensions_are_kept_and_rows_do_not_mix(shape):
    config = LogMel()
    waveform = np.random.default_rng(2).normal(0, 0.1, shape).astype(np.float32)
    together = config(waveform).numpy()
    assert together.shape == (*shape[:-1], 8, 64)
    alone = np.stack([config(row).numpy() for row in waveform.reshape(-1, 1600)])
    np.testing.assert_allclose(together.reshape(alone.shape), alone, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("spec", [[None], [None, None], [None, 4, None], [2, 4, 1600]])
def test_graph_with_unknown_sizes_and_xla_equal_eager(spec, jit):
    config = LogMel()
    defaults = [2, 4, 1600][-len(spec) :]
    shape = [size or default for size, default in zip(spec, defaults, strict=True)]
    waveform = np.random.default_rng(3).normal(0, 0.1, shape).astype(np.float32)
    traced = tf.function(
        config.__call__, input_signature=[tf.TensorSpec(spec, tf.float32)], jit_compile=jit
    )
    actual = traced(waveform)
    assert actual.dtype == tf.float32
    np.testing.assert_allclose(actual, config(waveform), atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(0, 3000), hop=st.integers(1, 700))
def test_num_frames_is_what_comes_out(samples, hop):
    config = LogMel(hop_seconds=hop / 16000)
    frames = config(tf.zeros([samples])).shape[0]
    assert config.num_frames(samples) == frames
    assert config.num_samples(frames) <= samples < config.num_samples(frames + 1)


@pytest.mark.parametrize(
    "bad, names",
    [
        ({"max_hz": 9000.0}, "max_hz"),
        ({"min_hz": 500.0, "max_hz": 400.0}, "min_hz"),
        ({"floor": 0.0}, "floor"),
        ({"num_mels": 0}, "num_mels"),
        ({"hop_seconds": 0.0}, "hop_seconds"),
    ],
)
def test_bad_settings_are_named(bad, names):
    with pytest.raises(ValueError, match=names):
        LogMel(**bad)


FRONT_END = LogMel(
    sample_rate_hz=44100,
    window_seconds=0.02322,
    hop_seconds=0.01161,
    num_mels=128,
    min_hz=0.0,
    max_hz=22050.0,
    floor=1e-10,
    range_db=80.0,
)


def test_the_front_end_of_soundclr_has_its_sizes():
    assert (FRONT_END.window_samples, FRONT_END.hop_samples, FRONT_END.fft_size) == (
        1024,
        512,
        1024,
    )
    assert FRONT_END(tf.zeros([2, 220500])).shape == (2, 429, 128)


def test_decibels_are_below_the_maximum_of_each_patch():
    rng = np.random.default_rng(0)
    waveform = rng.normal(size=(3, 8000)).astype(np.float32)
    waveform[1] *= 1e-3
    waveform[2, 4000:] *= 1e-6
    power = np.exp(np.float64(FRONT_END.log_power(waveform)))
    expected = np.zeros(power.shape)
    for example, patch in enumerate(power):
        for place in np.ndindex(patch.shape):
            decibels = 10 * np.log10(patch[place]) - 10 * np.log10(patch.max())
            expected[example][place] = max(decibels, -80.0)
    found = FRONT_END(waveform).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.max(axis=(1, 2)).tolist() == [0.0] * 3
    assert found[2].min() == -80.0
    # The lowest bands are narrower than a bin and may hold none; all others hear the noise.
    assert np.mean(found[0] > -80.0) > 0.9


def test_level_does_not_matter_and_silence_is_even():
    waveform = np.random.default_rng(1).normal(size=8000).astype(np.float32)
    np.testing.assert_allclose(FRONT_END(waveform), FRONT_END(0.01 * waveform), atol=0.01)
    np.testing.assert_array_equal(FRONT_END(np.zeros(8000, np.float32)), 0.0)


def test_a_range_is_above_zero():
    with pytest.raises(ValueError, match="range_db=0 must be above 0"):
        LogMel(range_db=0)
