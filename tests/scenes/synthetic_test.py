"""The built-in sound events: contract, and every class's property measured by other means."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sepcon.scenes.synthetic import SyntheticEvents

EVENTS = SyntheticEvents()
RATE = 16000
NUM_SEEDS = 40
Measure = Callable[[np.ndarray], float]
classes = st.integers(0, len(EVENTS.class_names) - 1)


@functools.cache
def many(name: str, count: int = NUM_SEEDS) -> list[np.ndarray]:
    index = EVENTS.class_names.index(name)
    return [EVENTS.generate(index, seed) for seed in range(count)]


def separability(measure: Measure, low: str, high: str) -> float:
    """Area under the ROC curve: how often an event of `high` measures above one of `low`."""
    scores = [[measure(sound) for sound in many(name)] for name in (low, high)]
    return roc_auc_score(np.repeat([0, 1], NUM_SEEDS), np.concatenate(scores))


def envelope(sound: np.ndarray, frame: int = 80) -> np.ndarray:
    """Root mean square in frames of 5 ms."""
    rows = sound[: len(sound) // frame * frame].reshape(-1, frame)
    return np.sqrt((rows.astype(float) ** 2).mean(axis=1))


def ridge(sound: np.ndarray) -> np.ndarray:
    """Frequency in octaves of the strongest bin, frame by frame (10 ms); NaN where it is quiet."""
    hertz, _, spectra = signal.stft(sound, RATE, nperseg=1024, noverlap=864, nfft=4096)
    power = np.abs(spectra) ** 2
    power[hertz < 80] = 0.0
    loud = power.max(axis=0) > 0.01 * power.max()
    return np.where(loud, np.log2(hertz[power.argmax(axis=0)] + 1e-9), np.nan)


def net_rise(sound: np.ndarray) -> float:
    """Octaves climbed less octaves fallen along the ridge, without jumps between partials."""
    steps = np.diff(ridge(sound))
    return np.sum(steps[np.abs(steps) < 0.1])


def pitch_waver(sound: np.ndarray) -> float:
    """Spread in semitones of the ridge against its own slow course."""
    track = ridge(sound)
    track = track[np.isfinite(track)]
    fast = track - signal.medfilt(track, 41)
    return 12 * np.median(np.abs(fast))


def periodicity(sound: np.ndarray, shortest: float = 0.06, longest: float = 0.75) -> float:
    """Highest peak of the autocorrelation of the envelope between two lags in seconds."""
    loud = np.diff(np.log(signal.convolve(envelope(sound), np.ones(6) / 6, "same") + 1e-3))
    loud = np.maximum(loud, 0.0) - np.maximum(loud, 0.0).mean()
    correlation = signal.correlate(loud, loud)[len(loud) - 1 :]
    weights = np.arange(len(loud), 0, -1) / len(loud)
    correlation = correlation / np.maximum(weights, 0.3) / correlation[0]
    lags = np.arange(len(loud)) * 0.005
    return correlation[(lags > shortest) & (lags < longest)].max()


def steepness_of_rise(sound: np.ndarray) -> float:
    """Log ratio of the steepest rise of the envelope to its steepest fall."""
    quiet = np.zeros(800)
    loud = envelope(np.concatenate([quiet, sound, quiet]))
    slope = np.sort(np.diff(signal.convolve(loud, np.ones(4) / 4, "valid")))
    return np.log(slope[-4:].sum() / -slope[:4].sum())


def harmonic_fit(sound: np.ndarray) -> float:
    """Minus the least mean deviation of the first strike's partials from a harmonic series."""
    size, pad = min(len(sound), 6400), 1 << 16
    decibels = 20 * np.log10(np.abs(np.fft.rfft(sound[:size] * np.hanning(size), pad)) + 1e-9)
    peaks, _ = signal.find_peaks(decibels, height=decibels.max() - 35, distance=200, prominence=10)
    strongest = peaks[np.argsort(decibels[peaks])[::-1][:6]] * RATE / pad
    candidates = np.geomspace(110, 950, 2000)[:, None]
    numbers = np.maximum(np.round(strongest / candidates), 1)
    deviation = np.abs(strongest / candidates - numbers)
    return -deviation.mean(axis=1).min() if len(strongest) > 2 else -0.1


def timbre_motion(sound: np.ndarray) -> float:
    """How far the formants of loud frames travel: spread of the smoothed log spectrum over time."""
    _, _, spectra = signal.stft(sound, RATE, nperseg=1024, noverlap=864)
    power = np.abs(spectra[:256]) ** 2
    bands = np.log(power.reshape(16, 16, -1).sum(axis=1) + 1e-4 * power.sum(axis=0).max())
    bands = bands[:, power.sum(axis=0) > 0.03 * power.sum(axis=0).max()]
    return (bands - bands.mean(axis=0)).std(axis=1).mean()


def buzz(sound: np.ndarray) -> float:
    """Highest autocorrelation of the waveform at lags of 9 to 60 ms, median over 0.25 s blocks."""
    size = RATE // 4
    blocks = np.lib.stride_tricks.sliding_window_view(sound, size)[:: size // 2]
    energy = (blocks**2).sum(axis=1)
    found = [np.diff(block.astype(float)) for block in blocks[energy > 0.1 * energy.max()]]
    found = [signal.correlate(block, block)[len(block) - 1 :] for block in found]
    return np.median([each[144:960].max() / each[0] for each in found])


def burst_seconds(sound: np.ndarray) -> float:
    """Median length of the stretches within 12 dB of the loudest frame."""
    loud = envelope(sound) > 0.25 * envelope(sound).max()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud, [0]])))
    return float(0.005 * np.median(edges[1::2] - edges[::2]))


def test_there_are_enough_distinct_classes() -> None:
    assert len(EVENTS.class_names) >= 12
    assert len(set(EVENTS.class_names)) == len(EVENTS.class_names)


@settings(max_examples=150, deadline=None)
@given(classes, st.integers(0, 2**70))
def test_contract_holds_for_wild_seeds(class_index: int, seed: int) -> None:
    sound = EVENTS.generate(class_index, seed)
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert 0.8 * RATE <= len(sound) <= 5 * RATE
    assert np.isfinite(sound).all()
    assert 0.05 < np.abs(sound).max() <= 1.0
    assert abs(sound.mean(dtype=float)) < 1e-4 * sound.std()


@settings(max_examples=30, deadline=None)
@given(classes, st.integers(0, 2**31))
def test_event_is_a_function_of_class_and_seed(class_index: int, seed: int) -> None:
    first = EVENTS.generate(class_index, seed)
    EVENTS.generate((class_index + 1) % len(EVENTS.class_names), 7)
    np.random.seed(1)
    np.testing.assert_array_equal(SyntheticEvents().generate(class_index, seed), first)
    other = EVENTS.generate(class_index, seed + 1)
    assert len(other) != len(first) or np.abs(other - first).max() > 0.01


def test_events_are_those_of_their_version() -> None:
    """Whoever changes what is heard gives `version` another value, and this test its numbers."""
    assert EVENTS.version == "e8a57efe"
    magnitudes = [np.abs(EVENTS.generate(n, 0)).sum() for n in range(len(EVENTS.class_names))]
    expected = [3075.3, 4559.1, 39.3, 65.9, 9977.7, 1382.9, 142.6, 2399.4, 156.6, 325.9, 499.5,
                168.0, 161.6, 491.1, 359.4, 639.0, 2036.5, 4892.3]  # fmt: skip
    np.testing.assert_allclose(magnitudes, expected, rtol=1e-3)


@pytest.mark.parametrize("class_index, seed", [(-1, 0), (len(EVENTS.class_names), 0), (0, -1)])
def test_arguments_out_of_range_are_named(class_index: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"(class_index|seed): got -?\d+, expected"):
        EVENTS.generate(class_index, seed)


# Each measure against each pair that only it tells apart; measured areas are .88 to 1.00.
@pytest.mark.parametrize(
    "measure, low, high, least",
    [
        (net_rise, "falling_glide", "rising_glide", 0.98),
        (periodicity, "crackle", "clock", 0.86),
        (pitch_waver, "tremolo", "vibrato", 0.98),
        (harmonic_fit, "bell", "string", 0.94),
        (steepness_of_rise, "swell", "slam", 0.96),
        (periodicity, "gusts", "puffs", 0.90),
        (periodicity, "bubbles", "alarm", 0.84),
        (timbre_motion, "tremolo", "voice", 0.95),
        (buzz, "gusts", "engine", 0.88),
    ],
)
def test_defining_property_separates(measure: Measure, low: str, high: str, least: float) -> None:
    assert separability(measure, low, high) >= least


def test_bubbles_rise_in_pitch() -> None:
    assert np.mean([net_rise(sound) > 0 for sound in many("bubbles")]) >= 0.95


def test_birds_sing_high() -> None:
    assert np.mean([np.nanmedian(ridge(sound)) > np.log2(1000) for sound in many("bird")]) >= 0.95


def test_barks_are_short() -> None:
    assert np.mean([0.03 < burst_seconds(sound) < 0.3 for sound in many("bark")]) >= 0.9


@pytest.mark.parametrize(
    "first, second",
    [
        ("rising_glide", "falling_glide"),
        ("clock", "crackle"),
        ("slam", "swell"),
        ("gusts", "puffs"),
    ],
)
def test_long_term_spectrum_does_not_tell_which(first: str, second: str) -> None:
    """Each pair differs in its course in time alone: a probe of the mean log spectrum is lost."""
    sounds = many(first, 80) + many(second, 80)
    labels = np.repeat([0, 1], 80)
    spectra = [np.log(signal.welch(sound, RATE, nperseg=256)[1] + 1e-12) for sound in sounds]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    scores = cross_val_predict(probe, np.stack(spectra), labels, cv=6, method="decision_function")
    assert 0.3 < roc_auc_score(labels, scores) < 0.7
