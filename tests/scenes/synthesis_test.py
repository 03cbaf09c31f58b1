"""Building blocks of synthetic sounds against loops and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from sepcon.scenes import synthesis

RATE = synthesis.SAMPLE_RATE_HZ
HOP = synthesis.HOP


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_upsample_is_linear_interpolation(rng: np.random.Generator) -> None:
    curve = rng.standard_normal(50)
    expected = np.interp(np.arange(50 * HOP) / HOP, np.arange(50), curve)
    np.testing.assert_allclose(synthesis.upsample(curve), expected, atol=1e-6)


def test_modes_are_decaying_sinusoids(rng: np.random.Generator) -> None:
    hertz, decays = np.array([200.0, 333.3, 5000.0]), np.array([0.5, 0.1, 0.03])
    amplitudes, phases = rng.uniform(0.1, 1.0, 3), rng.uniform(0.0, 6.28, 3)
    expected = np.zeros(4000)
    for frequency, decay, amplitude, phase in zip(hertz, decays, amplitudes, phases, strict=True):
        t = np.arange(4000) / RATE
        expected += amplitude * np.exp(-t / decay) * np.cos(2 * np.pi * frequency * t + phase)
    found = synthesis.modes(hertz, decays, amplitudes, phases, 4000)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_modes_above_the_band_are_left_out() -> None:
    silent = synthesis.modes(np.array([7900.0]), np.ones(1), np.ones(1), np.zeros(1), 1600)
    assert np.abs(silent).max() == 0.0


@pytest.mark.parametrize("num_samples", [1600, 20_016])
def test_modes_are_added_up_one_by_one_whatever_blas_does(num_samples: int) -> None:
    """To the bit, with each product and each sum rounded to float32."""
    rng, count = np.random.default_rng(7), 10
    hertz, decays = rng.uniform(100, 5000, count), rng.uniform(0.1, 1.0, count)
    amplitudes, phases = rng.uniform(0.1, 1.0, count), rng.uniform(0.0, 6.28, count)
    found = synthesis.modes(hertz, decays, amplitudes, phases, num_samples)
    rate = (-1.0 / decays + 2j * np.pi * hertz) / RATE
    for sample in (0, 1, 777, num_samples - 19, num_samples - 1):
        coarse = np.exp(sample // HOP * HOP * rate) * (amplitudes * np.exp(1j * phases))
        fine = np.exp(rate * (sample % HOP))
        total = np.float32(0.0)
        for one, other in (*zip(coarse.real, fine.real, strict=True),
                           *zip(-coarse.imag, fine.imag, strict=True)):  # fmt: skip
            total += np.float32(one) * np.float32(other)
        assert found[sample] == total


def test_periodic_has_the_harmonics_asked_for(rng: np.random.Generator) -> None:
    amplitudes = np.array([1.0, 0.0, 0.5, 0.25])
    wave = synthesis.periodic(rng, np.full(RATE // HOP, 400.0), amplitudes)
    found = np.abs(np.fft.rfft(wave)) / (RATE / 2)  # one second: bins of 1 Hz
    np.testing.assert_allclose(found[[400, 800, 1200, 1600]], amplitudes, atol=2e-3)
    found[[400, 800, 1200, 1600]] = 0.0
    assert found.max() < 2e-3


def test_periodic_follows_a_glide(rng: np.random.Generator) -> None:
    course = np.linspace(300.0, 900.0, RATE // HOP)
    wave = synthesis.periodic(rng, course, np.ones(1))
    turns = np.unwrap(np.angle(signal.hilbert(wave))) / (2 * np.pi)
    pitch = np.diff(turns)[500:-500] * RATE
    expected = np.interp(np.arange(RATE) / HOP, np.arange(RATE // HOP), course)[500:-501]
    np.testing.assert_allclose(pitch, expected, rtol=0.05)


def test_periodic_moves_through_its_tables(rng: np.random.Generator) -> None:
    tables = np.array([[1.0, 0.0], [0.0, 1.0]])
    wave = synthesis.periodic(rng, np.full(RATE // HOP, 500.0), tables)
    first, last = (np.abs(np.fft.rfft(part)) / 400 for part in (wave[:800], wave[-800:]))
    assert first[25] > 0.9 > 0.1 > first[50]  # 800 samples: bins of 20 Hz
    assert last[50] > 0.9 > 0.1 > last[25]


def test_aligned_phases_make_one_pulse_a_period(rng: np.random.Generator) -> None:
    def crest(scatter: float) -> float:
        wave = synthesis.periodic(rng, np.full(1000, 100.0), np.ones(40), scatter)
        return np.abs(wave).max() / wave.std()

    assert crest(0.0) > 8.0 > 5.0 > crest(1.0)


@settings(deadline=None)
@given(st.floats(0.0, 2.0), st.floats(0.05, 2.0), st.floats(1e-3, 1.0), st.floats(1e-3, 1.0))
def test_gate_is_silent_outside_and_bounded_inside(
    onset: float, duration: float, attack: float, release: float
) -> None:
    seconds = synthesis.times(5 * RATE)
    loudness = synthesis.gate(seconds, onset, duration, attack, release)
    assert loudness.min() >= 0.0
    assert loudness.max() <= 1.0
    assert not loudness[(seconds < onset) | (seconds > onset + duration)].any()


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.5, 5.0), st.floats(0.05, 5.0), st.floats(0.1, 1.0))
def test_spans_fill_the_time_in_order(seed: int, total: float, mean: float, fill: float) -> None:
    found = np.array(synthesis.spans(np.random.default_rng(seed), total, mean, fill))
    lengths = found[:, 1] / fill
    assert found[0, 0] == 0.0
    np.testing.assert_allclose(np.diff(found[:, 0]), lengths[:-1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[-1, 0] + lengths[-1], total, rtol=1e-9)
    assert lengths.max() <= 2.4 * lengths.min() + 1e-9


def test_drift_has_its_variance_and_no_jumps(rng: np.random.Generator) -> None:
    curves = np.stack([synthesis.drift(rng, synthesis.times(RATE), 4.0) for _ in range(2000)])
    # Between two independent knots the variance is (1 + cos^2) / 2 on average over the blend: 3/4.
    np.testing.assert_allclose(curves.var(), 0.75, atol=0.05)
    assert np.abs(np.diff(curves, axis=1)).max() < 4.0 * np.pi / 1000 * 5.0


def test_coloured_noise_has_the_spectrum_asked_for(rng: np.random.Generator) -> None:
    gain_db = np.array([0.0, -20.0, 10.0])
    noise = synthesis.coloured_noise(rng, 80000, gain_db, np.array([100.0, 1000.0, 8000.0]))
    hertz, power = signal.welch(noise, RATE, nperseg=1600)
    found = 10 * np.log10(power[[10, 100, 400, 700]] / power[10])
    expected = np.interp(np.log([100, 1000, 4000, 7000]), np.log([100, 1000, 8000]), gain_db)
    assert hertz[10] == 100.0
    np.testing.assert_allclose(found, expected, atol=3.0)


def test_place_cuts_at_the_end_and_adds_overlaps() -> None:
    out = synthesis.place(8, np.array([0.0, 2 / RATE, 6 / RATE, 9 / RATE]), [np.ones(4)] * 4)
    np.testing.assert_array_equal(out, [1, 1, 2, 2, 1, 1, 1, 1])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**63), st.integers(50, synthesis.MAX_SAMPLES // HOP))
def test_recording_keeps_bounds_and_adds_a_tail(seed: int, points: int) -> None:
    rng = np.random.default_rng(seed)
    dry = rng.standard_normal(points * HOP)
    wet = synthesis.record(rng, dry)
    assert wet.dtype == np.float32
    assert len(dry) <= len(wet) <= synthesis.MAX_SAMPLES
    assert 0.05 < np.abs(wet).max() < 1.0
    assert abs(wet.mean(dtype=float)) < 1e-4 * wet.std()


def test_room_and_microphone_differ_between_recordings_of_one_sound() -> None:
    dry = np.random.default_rng(0).standard_normal(RATE)
    spectra = [
        np.log(signal.welch(synthesis.record(np.random.default_rng(seed), dry), RATE)[1])
        for seed in range(20)
    ]
    colours = np.stack(spectra)[:, 2:110]
    colours -= colours.mean(axis=1, keepdims=True)
    assert colours.std(axis=0).mean() > 0.46  # 2 dB between microphones, level aside
