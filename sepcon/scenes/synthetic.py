"""Synthetic sound events: the built-in clips, made from a class and a seed alone.

The classes differ as real sounds do: pitch, harmonicity, noise colour, envelope, repetition,
glides, formants. Several pairs share everything but their course in time (a glide up or down,
regular or scattered clicks, tremolo or vibrato, struck harmonic or inharmonic partials, a slam or
a swell, gusts or puffs of the same noise). Every event is recorded in a room and through a
microphone of its own, so that long-term spectra say little about the class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sepcon.scenes.synthesis import (
    HOP,
    KNOTS_HZ,
    MAX_SAMPLES,
    SAMPLE_RATE_HZ,
    Array,
    Rng,
    coloured_noise,
    drift,
    gate,
    log_uniform,
    modes,
    num_harmonics,
    periodic,
    place,
    random_colour,
    record,
    spans,
    times,
    upsample,
)

_PULSES = 0.1  # scatter of phases where each period is one pulse: voices, engines

Maker = Callable[[Rng, int], Array]


def _tilted(rng: Rng, highest_hz: float, wanted: int = 16) -> Array:
    """Harmonic amplitudes with a random tilt, single harmonics stronger or weaker."""
    numbers = np.arange(1, num_harmonics(highest_hz, wanted) + 1)
    tilt_db = -rng.uniform(3.0, 15.0) * np.log2(numbers) + rng.normal(0.0, 4.0, len(numbers))
    return 10 ** (tilt_db / 20)


def _normalised(sound: Array) -> Array:
    return sound / np.sqrt(np.mean(sound**2) + 1e-12)


def _glide(direction: int) -> Maker:
    """Slides across a band, all upwards or all downwards: the band does not tell which."""

    def make(rng: Rng, num_samples: int) -> Array:
        seconds = times(num_samples)
        middle_hz, octaves = log_uniform(rng, 250, 2500), rng.uniform(0.6, 2.0)
        frequency, loudness = np.full(len(seconds), middle_hz), np.zeros(len(seconds))
        for onset, length in spans(rng, seconds[-1], rng.uniform(0.4, 1.6), rng.uniform(0.5, 0.95)):
            course = np.clip((seconds - onset) / length, 0.0, 1.0) ** rng.uniform(0.6, 1.6)
            here = (seconds >= onset) & (seconds <= onset + length)
            frequency[here] = middle_hz * 2.0 ** (direction * octaves * (course[here] - 0.5))
            edges = rng.uniform(0.05, 0.4, 2) * length
            loudness += gate(seconds, onset, length, *edges) * rng.uniform(0.5, 1.0)
        return periodic(rng, frequency, _tilted(rng, frequency.max())) * upsample(loudness)

    return make


def _click(rng: Rng, base_hz: float, decay_seconds: float) -> Array:
    """A short knock: a few modes above a base frequency."""
    frequency_hz = base_hz * np.array([1.0, 1.7, 2.9, 4.3]) * rng.uniform(0.97, 1.03, 4)
    decays = decay_seconds * rng.uniform(0.5, 1.0, 4)
    phases = rng.uniform(0.0, 2 * np.pi, 4)
    return modes(frequency_hz, decays, rng.uniform(0.3, 1.0, 4), phases, 1600)


def _clicks(regular: bool) -> Maker:
    """The same knocks at the same mean rate, either like a clock or like a fire."""

    def make(rng: Rng, num_samples: int) -> Array:
        total, rate_hz = num_samples / SAMPLE_RATE_HZ, log_uniform(rng, 2.5, 14.0)
        count = max(3, round(total * rate_hz))
        if regular:
            onsets = (np.arange(count) + rng.uniform(0.0, 1.0)) / rate_hz
            onsets += rng.normal(0.0, 0.015, count) / rate_hz
        else:
            onsets = np.sort(rng.uniform(0.0, total, count))
        base_hz, decay = log_uniform(rng, 300, 2500), log_uniform(rng, 0.002, 0.02)
        other_hz = base_hz * rng.choice([1.0, rng.uniform(0.7, 1.4)])  # tick and tock
        kinds = [_click(rng, base_hz, decay), _click(rng, other_hz, decay)]
        loudness = 10 ** (rng.normal(0.0, rng.uniform(0.0, 5.0), count) / 20)
        return place(
            num_samples, np.maximum(onsets, 0.0), [kinds[i % 2] * loudness[i] for i in range(count)]
        )

    return make


def _wavering(pitch: bool) -> Maker:
    """A held tone that wavers at 3 to 9 Hz, in pitch (vibrato) or in loudness (tremolo)."""

    def make(rng: Rng, num_samples: int) -> Array:
        seconds = times(num_samples)
        rate_hz = rng.uniform(3.0, 9.0) * (1.0 + 0.05 * drift(rng, seconds, 2.0))
        turns = np.cumsum(rate_hz) * (HOP / SAMPLE_RATE_HZ) + rng.uniform()
        swing = np.sin(2 * np.pi * turns)
        semitones, loudness = 0.1 * drift(rng, seconds, 2.0), np.exp(0.3 * drift(rng, seconds, 1.0))
        if pitch:
            semitones = semitones + rng.uniform(0.4, 1.5) * swing
        else:
            loudness = loudness * (1.0 - rng.uniform(0.5, 0.9) * (0.5 + 0.5 * swing))
        frequency = log_uniform(rng, 150, 1500) * 2.0 ** (semitones / 12)
        edges = rng.uniform(0.02, 0.3, 2)
        loudness = loudness * gate(seconds, 0.0, seconds[-1], *edges)
        return periodic(rng, frequency, _tilted(rng, frequency.max())) * upsample(loudness)

    return make


def _struck(harmonic: bool) -> Maker:
    """Struck partials with the same envelopes: of a string, or of a bar or bell."""

    def make(rng: Rng, num_samples: int) -> Array:
        fundamental_hz, count = log_uniform(rng, 120, 900), 10
        ratios = np.arange(1.0, count + 1)
        if harmonic:
            ratios *= np.sqrt(1.0 + rng.uniform(0.0, 3e-4) * ratios**2)  # stiffness of the string
        else:
            ratios = ratios ** rng.uniform(1.1, 1.6) * rng.uniform(0.88, 1.12, count)
        decays = log_uniform(rng, 0.15, 1.5) * ratios ** -rng.uniform(0.2, 1.0)
        amplitudes = 10 ** (rng.normal(-4.0 * np.log2(ratios), 5.0) / 20)
        hits = spans(rng, num_samples / SAMPLE_RATE_HZ, log_uniform(rng, 0.3, 3.0), 1.0)
        pitches = fundamental_hz * 2.0 ** (rng.integers(-4, 5, len(hits)) * rng.choice([0, 1]) / 12)
        rings = [
            modes(pitch * ratios, decays, amplitudes, rng.uniform(0, 6.28, count), num_samples)
            for pitch in pitches[:6]
        ]
        onsets = np.array([onset for onset, _ in hits[:6]])
        return place(num_samples, onsets, rings)

    return make


def _burst(backwards: bool) -> Maker:
    """Bursts of coloured noise that start hard and die away, or swell and stop."""

    def make(rng: Rng, num_samples: int) -> Array:
        seconds = times(num_samples)
        loudness = np.zeros(len(seconds))
        for onset, length in spans(rng, seconds[-1], log_uniform(rng, 0.4, 2.5), 0.9):
            start, size = int(onset * 1000), max(20, int(length * 1000))
            course = np.arange(size) / 1000
            shape = np.exp(-course / (length * rng.uniform(0.12, 0.35)))
            shape *= np.minimum(course / rng.uniform(0.002, 0.01), 1.0)
            shape = shape[::-1] if backwards else shape
            part = loudness[start : start + size]
            part += rng.uniform(0.5, 1.0) * shape[: len(part)]
        colour = random_colour(rng, rng.uniform(-6.0, 3.0), 6.0)
        return coloured_noise(rng, num_samples, colour, KNOTS_HZ) * upsample(loudness)

    return make


def _modulated_noise(regular: bool) -> Maker:
    """Noise whose loudness comes and goes: in gusts, or in even puffs like a steam engine."""

    def make(rng: Rng, num_samples: int) -> Array:
        seconds, rate_hz = times(num_samples), log_uniform(rng, 1.5, 8.0)
        if regular:
            turns = rate_hz * seconds + 0.02 * drift(rng, seconds, rate_hz) + rng.uniform()
            course: Array = 1.4 * np.sin(2 * np.pi * turns)
        else:
            course = drift(rng, seconds, 2.0 * rate_hz)
        depth = rng.uniform(0.5, 1.3)
        colour = random_colour(rng, rng.uniform(-8.0, 3.0), 5.0)
        loudness = np.exp(depth * course) * gate(seconds, 0.0, seconds[-1], 0.1, 0.1)
        return coloured_noise(rng, num_samples, colour, KNOTS_HZ) * upsample(loudness)

    return make


def _engine(rng: Rng, num_samples: int) -> Array:
    """Explosions of four unequal cylinders exciting a body, with a wandering speed and noise."""
    seconds = times(num_samples)
    speed_hz = log_uniform(rng, 6.0, 25.0) * np.exp(0.12 * drift(rng, seconds, 1.5))
    numbers = np.arange(1, num_harmonics(speed_hz.max(), 400) + 1)
    unevenness = np.array([1.0, *rng.uniform(0.05, 0.5, 3)])
    body_hz = log_uniform(rng, 80, 300) * np.array([1.0, 3.1, 7.3])
    amplitudes = unevenness[numbers % 4] * _resonances(numbers * speed_hz.mean(), body_hz, 1.5)
    turning = periodic(rng, speed_hz, amplitudes, _PULSES)
    hiss = coloured_noise(rng, num_samples, random_colour(rng, -6.0, 4.0), KNOTS_HZ)
    mix = _normalised(turning) + rng.uniform(0.05, 0.5) * _normalised(hiss)
    return mix * upsample(gate(seconds, 0.0, seconds[-1], 0.2, 0.2))


def _resonances(hertz: Array, centres_hz: Array, quality: float) -> Array:
    """Amplitude at `hertz` of resonances side by side, each weaker than the one below it."""
    offsets = np.log2(hertz[:, None] / np.asarray(centres_hz)) * quality
    return (1.0 / (1.0 + (2.0 * offsets) ** 2) / np.arange(1, len(centres_hz) + 1)).sum(axis=1)


def _vowels(rng: Rng, highest_hz: float, mean_hz: float, count: int, size: float) -> Array:
    """Harmonic amplitudes [count, harmonics] of random vowels of one vocal tract."""
    hertz = mean_hz * np.arange(1, num_harmonics(highest_hz, 60) + 1)
    low, middle = rng.uniform(280, 850, count), rng.uniform(800, 2400, count)
    centres = size * np.stack([low, np.maximum(middle, low + 250), rng.uniform(2400, 3200, count)])
    return np.stack([_resonances(hertz, each, 3.0) for each in centres.T]) / np.sqrt(hertz)


def _voice(rng: Rng, num_samples: int) -> Array:
    """Syllables: a voice with intonation and formants that move all the time."""
    seconds = times(num_samples)
    mean_hz = log_uniform(rng, 85, 320)
    frequency = mean_hz * 2.0 ** (rng.uniform(1.0, 3.5) * drift(rng, seconds, 2.5) / 12)
    syllables = spans(rng, seconds[-1], rng.uniform(0.15, 0.4), rng.uniform(0.7, 0.95))
    loudness = np.zeros(len(seconds))
    for onset, length in syllables:
        loudness += gate(seconds, onset, length, 0.3 * length, 0.4 * length) * rng.uniform(0.2, 1.0)
    tables = _vowels(rng, frequency.max(), mean_hz, 2 * len(syllables), rng.uniform(0.85, 1.25))
    return periodic(rng, frequency, tables, _PULSES) * upsample(loudness)


def _bark(rng: Rng, num_samples: int) -> Array:
    """Short hoarse calls whose pitch rises and falls, through an open mouth."""
    seconds = times(num_samples)
    mean_hz, size = log_uniform(rng, 180, 700), rng.uniform(0.8, 1.4)
    frequency, loudness = np.full(len(seconds), mean_hz), np.zeros(len(seconds))
    for onset, _ in spans(rng, seconds[-1], rng.uniform(0.25, 0.9), 1.0):
        length = rng.uniform(0.09, 0.22)
        shape = gate(seconds, onset, length, 0.15 * length, 0.7 * length)
        frequency *= 2.0 ** (rng.uniform(0.2, 0.7) * shape)
        loudness += shape * rng.uniform(0.5, 1.0)
    tables = _vowels(rng, frequency.max(), mean_hz, 2, size)
    rough = 1.0 + 0.6 * np.abs(drift(rng, seconds, 120.0))
    breath = coloured_noise(rng, num_samples, random_colour(rng, -3.0, 3.0), KNOTS_HZ)
    call = _normalised(periodic(rng, frequency, tables, _PULSES)) * upsample(rough)
    return (call + rng.uniform(0.1, 0.6) * _normalised(breath)) * upsample(loudness)


def _bubbles(rng: Rng, num_samples: int) -> Array:
    """Air bubbles: short damped tones that rise, scattered in pitch and time."""
    total, rate_hz = num_samples / SAMPLE_RATE_HZ, log_uniform(rng, 3.0, 14.0)
    count, base_hz = max(2, round(total * rate_hz)), log_uniform(rng, 350, 1600)
    course = np.arange(1600) / SAMPLE_RATE_HZ
    drops = []
    for _ in range(count):
        start_hz, rise = base_hz * 2 ** rng.normal(0.0, 0.4), rng.uniform(3.0, 12.0)
        turns = start_hz * course * (1.0 + 0.5 * rise * course)
        fading = np.exp(-course / rng.uniform(0.01, 0.035)) * np.minimum(course / 0.002, 1.0)
        drops.append(np.sin(2 * np.pi * turns) * fading * rng.lognormal(0.0, 0.5))
    return place(num_samples, rng.uniform(0.0, total, count), drops)


def _bird(rng: Rng, num_samples: int) -> Array:
    """A song: a motif of short bent whistles, sung again and again."""
    seconds = times(num_samples)
    base_hz, notes = log_uniform(rng, 1500, 4500), int(rng.integers(1, 5))
    lengths, gaps = rng.uniform(0.04, 0.18, notes), rng.uniform(0.02, 0.12, notes)
    bends, steps = rng.uniform(-0.5, 0.5, (notes, 2)), rng.uniform(-0.4, 0.4, notes)
    octaves, loudness = np.zeros(len(seconds)), np.zeros(len(seconds))
    onset, note, pause = rng.uniform(0.0, 0.1), 0, rng.uniform(0.05, 0.6)
    while onset < seconds[-1] - 0.05:
        length = lengths[note]
        course = (seconds - onset) / length
        here = (course >= 0) & (course <= 1)
        bend = bends[note, 0] * (2 * course[here] - 1) + bends[note, 1] * np.sin(
            np.pi * course[here]
        )
        octaves[here] = steps[note] + bend
        loudness += gate(seconds, onset, length, 0.3 * length, 0.3 * length)
        onset += length + gaps[note]
        note = (note + 1) % notes
        onset += (pause if note == 0 else 0.0) * rng.uniform(0.9, 1.1)
    frequency = np.minimum(base_hz * 2.0**octaves, 7000.0)
    return periodic(rng, frequency, _tilted(rng, frequency.max(), 3)) * upsample(loudness)


def _alarm(rng: Rng, num_samples: int) -> Array:
    """Electronic beeps, evenly spaced, singly or in groups, on one or two pitches."""
    seconds = times(num_samples)
    period, duty = log_uniform(rng, 0.12, 0.8), rng.uniform(0.35, 0.75)
    group = int(rng.choice([1, 1, 2, 3, 4]))
    ratio = rng.choice([1.0, rng.uniform(1.1, 1.5)])
    turns = seconds / period + rng.uniform()
    beep, place_in_beep = turns.astype(int), turns % 1.0
    sounding = (place_in_beep < duty) & ((beep % (group + 1) < group) | (group == 1))
    loudness = np.convolve(sounding, np.ones(6) / 6, "same")
    frequency = log_uniform(rng, 450, 3200) * np.where(beep % 2 == 0, 1.0, ratio)
    numbers = np.arange(1, num_harmonics(frequency.max(), 12) + 1)
    amplitudes = numbers ** -rng.uniform(0.7, 3.0) * np.where(numbers % 2 == 0, rng.uniform(), 1.0)
    return periodic(rng, frequency, amplitudes) * upsample(loudness)


_MAKERS: dict[str, Maker] = {
    "rising_glide": _glide(1),
    "falling_glide": _glide(-1),
    "clock": _clicks(regular=True),
    "crackle": _clicks(regular=False),
    "tremolo": _wavering(pitch=False),
    "vibrato": _wavering(pitch=True),
    "string": _struck(harmonic=True),
    "bell": _struck(harmonic=False),
    "slam": _burst(backwards=False),
    "swell": _burst(backwards=True),
    "gusts": _modulated_noise(regular=False),
    "puffs": _modulated_noise(regular=True),
    "engine": _engine,
    "voice": _voice,
    "bark": _bark,
    "bubbles": _bubbles,
    "bird": _bird,
    "alarm": _alarm,
}


@dataclass(frozen=True)
class SyntheticEvents:
    """Endless labelled clips that need no file: event `seed` of a class is always the same.

    Attributes:
      class_names: of the classes, in order.
      version: another one for any change after which events sound otherwise. Scenes are named
        after it, so that those of other events are never taken for these.
      sample_rate_hz: of all events.
      max_samples: of the longest event.
    """

    class_names: ClassVar[tuple[str, ...]] = tuple(_MAKERS)
    version: ClassVar[str] = "e8a57efe"
    sample_rate_hz: ClassVar[int] = SAMPLE_RATE_HZ
    max_samples: ClassVar[int] = MAX_SAMPLES

    def generate(self, class_index: int, seed: int) -> np.ndarray:
        """Makes one event.

        Args:
            class_index: Position in class_names.
            seed: Any integer from 0; another seed is another event of the class.

        Returns:
            float32 [samples] at 16 kHz in [-1, 1], of 0.8 to 5 s, without DC, never silent.

        Raises:
            ValueError: class_index or seed is out of range.
        """
        if not 0 <= class_index < len(self.class_names):
            raise ValueError(
                f"class_index: got {class_index}, expected 0 to {len(self.class_names) - 1}"
            )
        if seed < 0:
            raise ValueError(f"seed: got {seed}, expected an integer from 0")
        rng = np.random.default_rng((class_index, seed))
        num_samples = int(log_uniform(rng, 0.8, 4.8) * SAMPLE_RATE_HZ) // HOP * HOP
        make = _MAKERS[self.class_names[class_index]]
        return record(rng, _normalised(make(rng, num_samples)))
