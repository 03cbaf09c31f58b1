"""Building blocks of synthetic sounds: curves, oscillators, struck modes, noise, a recording.

Everything works at 16 kHz and costs well under a millisecond per second of sound. Slow quantities
(pitch, loudness) are curves at the control rate, one value per `HOP` samples; `upsample` draws
straight lines between them. Randomness comes only from the generator passed in.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from sepcon.audio.samples import SAMPLE_RATE_HZ

HOP = 16  # samples per control point: 1 ms
MAX_SAMPLES = 5 * SAMPLE_RATE_HZ
_TOP_HZ = 7600.0  # nothing is synthesised above, which keeps partials away from aliasing
_TABLE_SIZE = 8192

Array = NDArray[np.floating]
Rng = np.random.Generator


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """Draws a positive number whose logarithm is uniform between the logarithms of two bounds.

    Args:
      rng: draws.
      low: lower bound, above 0.
      high: upper bound.
    """
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def times(num_samples: int) -> Array:
    """Seconds of the control points of a sound of num_samples (a multiple of HOP)."""
    return np.arange(num_samples // HOP) * (HOP / SAMPLE_RATE_HZ)


def upsample(curve: ArrayLike) -> Array:
    """Linear interpolation of a curve [points] at the control rate to float32 [points * HOP]."""
    points = np.asarray(curve, np.float32)
    steps = np.diff(points, append=points[-1:])
    ramp = np.arange(HOP, dtype=np.float32) / HOP
    return (points[:, None] + steps[:, None] * ramp).ravel()


def drift(rng: Rng, seconds: Array, rate_hz: float) -> Array:
    """Makes a slow random curve: normal random values, interpolated over time.

    Args:
      rng: draws.
      seconds: [points] times at which the curve is wanted.
      rate_hz: random values of unit variance per second.

    Returns:
      [points] float.
    """
    num_knots = max(2, int(np.ceil(seconds[-1] * rate_hz)) + 2)
    position = seconds * rate_hz + rng.uniform()
    knots = rng.standard_normal(num_knots + 1)
    left = np.minimum(position.astype(int), num_knots - 1)
    blend = 0.5 - 0.5 * np.cos(np.pi * (position - left).clip(0.0, 1.0))
    return knots[left] * (1.0 - blend) + knots[left + 1] * blend


def gate(seconds: Array, onset: float, duration: float, attack: float, release: float) -> Array:
    """Makes the envelope of one sound: sine-squared rise, plateau, sine-squared fall.

    Args:
      seconds: [points] times.
      onset: when it begins, in seconds.
      duration: of the whole, in seconds.
      attack: of the rise, in seconds.
      release: of the fall, in seconds.

    Returns:
      [points] float in [0, 1].
    """
    rise = (seconds - onset) / attack
    fall = (onset + duration - seconds) / release
    return np.sin(np.clip(np.minimum(rise, fall), 0.0, 1.0) * (np.pi / 2)) ** 2


def spans(rng: Rng, total: float, mean: float, fill: float) -> list[tuple[float, float]]:
    """Divides `total` seconds among sounds of unequal lengths, about `mean` seconds apart.

    Args:
        rng: Source of randomness.
        total: Seconds to divide, positive.
        mean: Rough number of seconds from one onset to the next.
        fill: Share of each part that sounds, in (0, 1].

    Returns:
        (onset, duration) of every sound, in seconds.
    """
    count = max(1, round(total / mean))
    lengths = rng.uniform(0.6, 1.4, count)
    lengths *= total / lengths.sum()
    onsets = np.cumsum(lengths) - lengths
    return [(float(o), float(d) * fill) for o, d in zip(onsets, lengths, strict=True)]


def num_harmonics(highest_hz: float, wanted: int) -> int:
    """How many of the wanted harmonics stay below the top of the band, at least one."""
    return int(np.clip(_TOP_HZ // highest_hz, 1, wanted))


def periodic(rng: Rng, frequency_hz: Array, amplitudes: Array, phase_scatter: float = 1.0) -> Array:
    """A periodic wave of given pitch and harmonic amplitudes, by table lookup.

    Args:
        rng: Source of the harmonics' phases.
        frequency_hz: [points] fundamental at the control rate.
        amplitudes: [harmonics], or [tables, harmonics] for a timbre that moves through the
            tables from first to last (each is reached at equal distances in time).
        phase_scatter: 1 for random phases; near 0 the harmonics line up to one pulse a period.

    Returns:
        float32 [points * HOP].
    """
    amplitudes = np.atleast_2d(amplitudes)
    spectrum = np.zeros((len(amplitudes), _TABLE_SIZE // 2 + 1), np.complex64)
    turns = np.exp(2j * np.pi * phase_scatter * rng.uniform(size=amplitudes.shape[1]))
    spectrum[:, 1 : amplitudes.shape[1] + 1] = amplitudes * turns
    tables = fft.irfft(spectrum, axis=1) * (_TABLE_SIZE / 2)
    phase = np.cumsum(upsample(frequency_hz), dtype=np.float64) * (_TABLE_SIZE / SAMPLE_RATE_HZ)
    index = phase.astype(np.int64) & (_TABLE_SIZE - 1)
    if len(tables) == 1:
        return tables[0][index]
    position = np.linspace(0.0, len(tables) - 1.001, len(index), dtype=np.float32)
    left = position.astype(np.int64)
    blend = position - left
    flat = tables.ravel()
    index += left * _TABLE_SIZE
    return flat[index] * (1.0 - blend) + flat[index + _TABLE_SIZE] * blend


def modes(
    frequency_hz: Array, decay_seconds: Array, amplitudes: Array, phases: Array, num_samples: int
) -> Array:
    """Sum of exponentially decaying sinusoids: what a struck body rings like.

    With n = HOP a + b every damped rotation factors into one that depends on a and one on b. They
    are added up one by one, in float32: a matrix product would round as BLAS pleases, which
    depends on the machine and on the number of its threads.

    Args:
        frequency_hz: [modes]; those above the band are left out.
        decay_seconds: [modes] time after which a mode has fallen to 1/e.
        amplitudes: [modes].
        phases: [modes] in radians.
        num_samples: A multiple of HOP.

    Returns:
        float32 [num_samples].
    """
    rate = (-1.0 / decay_seconds + 2j * np.pi * frequency_hz) / SAMPLE_RATE_HZ
    weights = np.where(frequency_hz < _TOP_HZ, amplitudes, 0.0) * np.exp(1j * phases)
    coarse = np.exp(np.outer(np.arange(num_samples // HOP) * HOP, rate)) * weights
    fine = np.exp(np.outer(rate, np.arange(HOP)))
    left = np.hstack([coarse.real, -coarse.imag]).astype(np.float32)
    right = np.vstack([fine.real, fine.imag]).astype(np.float32)
    total = np.zeros((len(left), HOP), np.float32)
    for column, row in zip(left.T, right, strict=True):
        total += column[:, None] * row
    return total.ravel()


def place(num_samples: int, onsets_seconds: Array, sounds: list[Array]) -> Array:
    """Adds short sounds to silence.

    Args:
      num_samples: length of the result.
      onsets_seconds: [sounds] when each begins.
      sounds: [samples] of each.

    Returns:
      [num_samples] float32; what lies behind the end is cut off.
    """
    out = np.zeros(num_samples, np.float32)
    for onset, sound in zip(onsets_seconds, sounds, strict=True):
        start = int(onset * SAMPLE_RATE_HZ)
        stop = min(start + len(sound), num_samples)
        if start < stop:
            out[start:stop] += sound[: stop - start]
    return out


def coloured_noise(rng: Rng, num_samples: int, gain_db: Array, knots_hz: Array) -> Array:
    """Makes Gaussian noise of a given spectrum.

    Args:
      rng: draws.
      num_samples: length of the result.
      gain_db: [knots] gain at each frequency.
      knots_hz: [knots] ascending frequencies.

    Returns:
      [num_samples] float32.
    """
    return fft.irfft(_noise_spectrum(rng, num_samples, gain_db, knots_hz), num_samples)


def _noise_spectrum(
    rng: Rng, num_samples: int, gain_db: Array, knots_hz: Array
) -> NDArray[np.complexfloating]:
    gain = _bin_gains(num_samples, gain_db, knots_hz)
    parts = rng.standard_normal((len(gain), 2), np.float32)
    return parts.view(np.complex64)[:, 0] * gain


def _bin_gains(num_samples: int, gain_db: Array, knots_hz: Array) -> Array:
    """Amplitude of every bin of a real transform, log-log between the knots; none below 20 Hz."""
    num_bins = num_samples // 2 + 1
    coarse = np.arange(num_bins // HOP + 1) * (HOP * SAMPLE_RATE_HZ / num_samples)
    decibels = np.interp(np.log(np.maximum(coarse, 1.0)), np.log(knots_hz), gain_db)
    gains = upsample(10.0 ** (decibels / 20.0))[:num_bins]
    gains[: int(20.0 * num_samples / SAMPLE_RATE_HZ) + 1] = 0.0
    return gains


KNOTS_HZ = np.geomspace(60.0, 8000.0, 9)


def random_colour(rng: Rng, tilt_db: float, spread_db: float) -> Array:
    """Draws the gains of a random spectrum at KNOTS_HZ.

    Args:
      rng: draws.
      tilt_db: gain per octave, 0 dB at 1 kHz.
      spread_db: standard deviation of the independent deviations of each gain.

    Returns:
      [knots] float, in dB.
    """
    return tilt_db * np.log2(KNOTS_HZ / 1000.0) + rng.normal(0.0, spread_db, len(KNOTS_HZ))


def record(rng: Rng, dry: Array) -> Array:
    """Puts a dry sound into a room and before a microphone.

    Room: an exponentially decaying noise tail. Microphone and distance: a random smooth
    equalisation with its own bandwidth. Recorder: level and a coloured noise floor. All of it is
    one product in the frequency domain, which also removes what lies below 20 Hz.

    Args:
        rng: Source of randomness.
        dry: [samples], a multiple of HOP, at most MAX_SAMPLES.

    Returns:
        float32 [samples + tail] in [-1, 1], at most MAX_SAMPLES, without DC.
    """
    seconds = times(len(dry))
    dry = dry * upsample(gate(seconds, -0.1, seconds[-1] + 0.1, 0.1, 0.03))  # no click at the end
    decay_seconds = log_uniform(rng, 0.05, 0.9)  # to -60 dB
    tail = min(int(decay_seconds * SAMPLE_RATE_HZ), MAX_SAMPLES - len(dry))
    num_samples = fft.next_fast_len(len(dry) + tail, real=True)
    spectrum = fft.rfft(dry.astype(np.float32), num_samples)
    spectrum *= fft.rfft(_room(rng, decay_seconds, num_samples))
    spectrum *= _bin_gains(num_samples, _microphone(rng), KNOTS_HZ)
    power = np.mean(np.abs(spectrum) ** 2)
    floor = _noise_spectrum(rng, num_samples, random_colour(rng, rng.uniform(-6, 0), 4), KNOTS_HZ)
    floor *= np.sqrt(power / np.mean(np.abs(floor) ** 2)) * 10 ** (-rng.uniform(15, 45) / 20)
    wet = fft.irfft(spectrum + floor, num_samples)
    peak_db = rng.uniform(-24.0, -1.0)
    return (wet * (10 ** (peak_db / 20) / np.abs(wet).max())).astype(np.float32)


def _room(rng: Rng, decay_seconds: float, num_samples: int) -> Array:
    """Impulse response: the direct sound, then a noise tail of -3 to -20 dB of its energy."""
    length = min(int(decay_seconds * SAMPLE_RATE_HZ) // HOP * HOP, num_samples // HOP * HOP)
    delay = int(rng.uniform(0.002, 0.02) * SAMPLE_RATE_HZ)
    fading = upsample(np.exp(-6.9 * times(length) / decay_seconds))
    tail = rng.standard_normal(length, np.float32) * fading
    tail *= 10 ** (-rng.uniform(3, 20) / 20) / np.sqrt(np.sum(tail**2))
    response = np.zeros(num_samples, np.float32)
    response[0] = 1.0
    response[delay : delay + length] += tail[: num_samples - delay]
    return response


def _microphone(rng: Rng) -> Array:
    """Gains in dB at KNOTS_HZ: colour of microphone and distance, and a band limit."""
    gains = random_colour(rng, rng.uniform(-3.0, 3.0), rng.uniform(1.0, 6.0))
    octaves_above = np.log2(KNOTS_HZ / log_uniform(rng, 3000.0, 9000.0))
    return gains - 18.0 * np.maximum(octaves_above, 0.0)
