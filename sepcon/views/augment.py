"""Augmentations of waveforms and of log-mel patches, which get their random numbers as arguments.

All that an augmentation does to an example is determined by the example's row of `uniforms`. So a
step can be repeated exactly, and its result does not depend on how many replicas share the batch.
Shapes never depend on a random number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import tensorflow as tf
from scipy import linalg

from sepcon.audio.samples import SAMPLE_RATE_HZ

Fill = Literal["mean", "minimum", "maximum"]
# A crop shall have half the root mean square of its clip, that is a quarter of the power.
_LEAST_SHARE_OF_POWER = 0.25


class Augmentation(Protocol):
    """Changes log-mel patches or waveforms at random."""

    @property
    def num_uniforms(self) -> int:
        """How many columns of random numbers one example takes."""
        ...

    def __call__(self, examples: tf.Tensor, uniforms: tf.Tensor, /) -> tf.Tensor:
        """Changes each example as its row of uniforms says.

        Args:
          examples: [batch, frames, mels] float32, what `LogMel` gives, or [batch, samples] float32.
          uniforms: [batch, num_uniforms] float32 in [0, 1).

        Returns:
          [batch, frames, mels] float32, or [batch, other samples] float32.
        """
        ...


def split_uniforms(uniforms: tf.Tensor, widths: Sequence[int]) -> list[tf.Tensor]:
    """Hands out the columns of `uniforms` from left to right.

    Args:
      uniforms: [batch, sum of widths] float32.
      widths: how many columns each taker gets; 0 is allowed.

    Returns:
      one tensor [batch, width] per width.

    Raises:
      ValueError: the columns do not add up.
    """
    if uniforms.shape[-1] != sum(widths):
        raise ValueError(
            f"uniforms has {uniforms.shape[-1]} columns, expected {sum(widths)} = {list(widths)}"
        )
    return tf.split(uniforms, list(widths), axis=-1)


@dataclass(frozen=True)
class Chain:
    """Augmentations, applied one after the other; an empty chain returns its input.

    Attributes:
      augmentations: in the order of application; each gets columns of `uniforms` of its own.
    """

    augmentations: tuple[Augmentation, ...] = ()

    @property
    def num_uniforms(self) -> int:
        return sum(each.num_uniforms for each in self.augmentations)

    def __call__(self, examples: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """See `Augmentation`."""
        parts = split_uniforms(uniforms, [each.num_uniforms for each in self.augmentations] or [0])
        for each, part in zip(self.augmentations, parts, strict=False):
            examples = each(examples, part)
        return examples


@dataclass(frozen=True)
class RandomSpeed:
    """Plays waveforms faster or slower, as SoundCLR (Nasiri and Hu, 2021) has it: pitch moves too.

    The length is multiplied by max_factor^u, u uniform in [-1, 1), and samples are interpolated
    linearly. The result is as long as the slowest one would be; after the others come zeros.

    Attributes:
      max_factor: the most that a length is multiplied or divided by, at least 1.
    """

    max_factor: float = 1.25

    def __post_init__(self) -> None:
        if not self.max_factor >= 1:
            raise ValueError(f"max_factor must be at least 1, got {self.max_factor}")

    @property
    def num_uniforms(self) -> int:
        return 1

    def __call__(self, waveform: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """See `Augmentation`."""
        samples = waveform.shape[-1]
        factor = tf.pow(tf.constant(self.max_factor), 2.0 * uniforms - 1.0)  # [batch, 1]
        place = tf.range(math.ceil(samples * self.max_factor), dtype=tf.int32)
        position = tf.cast(place, tf.float32) / factor  # [batch, longest]
        # Whole numbers stay float32 to the end: accelerators have no arithmetic of int32.
        before, last = tf.floor(position), float(samples - 1)
        share = position - before
        lower, upper = (
            tf.gather(waveform, tf.cast(tf.minimum(index, last), tf.int32), batch_dims=1)
            for index in (before, before + 1)
        )
        return tf.where(before <= last, lower + share * (upper - lower), 0.0)


@dataclass(frozen=True)
class RandomPadCrop:
    """Brings waveforms to one length, by silence around a short sound or a crop of a long one.

    After SoundCLR (Nasiri and Hu, 2021): digital silence at both ends is removed first. A sound
    shorter than `seconds` is put at a random place and zeros fill the rest (SoundCLR repeats the
    first and the last sample). Of a longer sound a random part is taken. If the root mean square of
    that part is less than half that of the sound, the beginning of the sound is taken instead; if
    that of the beginning is too, the end.

    Attributes:
      seconds: length of the result.
      sample_rate_hz: samples per second of the waveforms.
    """

    seconds: float = 5.0
    sample_rate_hz: int = SAMPLE_RATE_HZ

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ValueError(f"seconds={self.seconds} is less than a sample")

    @property
    def num_samples(self) -> int:
        return round(self.seconds * self.sample_rate_hz)

    @property
    def num_uniforms(self) -> int:
        return 1

    def __call__(self, waveform: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """See `Augmentation`."""
        length, samples = self.num_samples, waveform.shape[-1]
        # Places are whole numbers in float32: accelerators have no arithmetic of int32.
        place = tf.cast(tf.range(samples, dtype=tf.int32), tf.float32)
        sounds = waveform != 0
        first = tf.reduce_min(tf.where(sounds, place, float(samples)), axis=-1)  # [batch]
        end = tf.reduce_max(tf.where(sounds, place + 1, 0.0), axis=-1)
        first = tf.minimum(first, end)  # silence has neither
        room = length - (end - first)  # below 0 for what has to be cut
        moved = tf.minimum(tf.floor(uniforms[:, 0] * (tf.abs(room) + 1)), tf.abs(room))
        # What lies outside of the sound is zero already.
        padded = tf.pad(waveform, [[0, 0], [length, length]])
        drawn = crop(padded, length + tf.where(room < 0, first + moved, first - moved), length)
        if samples <= length:
            return drawn
        energy = tf.reduce_sum(tf.square(waveform), axis=-1)
        wanted = _LEAST_SHARE_OF_POWER * energy / tf.maximum(end - first, 1.0)
        result = crop(padded, length + end - length, length)
        for part in (crop(padded, length + first, length), drawn):
            loud = tf.reduce_mean(tf.square(part), axis=-1) >= wanted
            result = tf.where((loud | (room >= 0))[:, tf.newaxis], part, result)
        return result


def crop(audio: tf.Tensor, start: tf.Tensor, length: int) -> tf.Tensor:
    """Cuts out of each example the `length` samples that begin at its `start`.

    One gather for the whole batch. A loop over examples that copies slices takes two thirds of the
    time on one core, and a hundred times as long on an accelerator, which it asks for every start.

    Args:
      audio: [batch, ..., samples] of any type.
      start: [batch] of whole numbers, 0 to samples - length, int32 or float32.
      length: samples of the result.

    Returns:
      [batch, ..., length] of the type of `audio`.
    """
    sizes = tf.shape(audio, tf.int64)
    batch, *inner, samples = (
        sizes[axis] if known is None else known for axis, known in enumerate(audio.shape)
    )
    per_example = math.prod(inner)
    # int64, because accelerators have no arithmetic of int32, and batches may be that long.
    first = tf.range(tf.cast(batch * per_example, tf.int64)) * samples
    first += tf.repeat(tf.cast(start, tf.int64), per_example)
    index = first[:, tf.newaxis] + tf.range(length, dtype=tf.int64)  # [row, length]
    cut = tf.gather(tf.reshape(movable(audio), [-1]), index)
    cut = tf.reshape(tf.bitcast(cut, audio.dtype), [batch, *inner, length])
    return tf.ensure_shape(cut, [*audio.shape[:-1], length])


def movable(audio: tf.Tensor) -> tf.Tensor:
    """Reinterprets int16 as float16, bit for bit, because accelerators cannot cut or gather int16.

    Args:
      audio: [...] of any type.

    Returns:
      [...] float16 for int16; any other type as it is.
    """
    return tf.bitcast(audio, tf.float16) if audio.dtype == tf.int16 else audio


@dataclass(frozen=True)
class SpecAugment:
    """Masks bands of time and of mel frequency (Park et al., 2019, without time warping).

    Each mask has a width drawn uniformly from 0 to its maximum, both included, and a place drawn
    uniformly among those where it fits.

    What is masked takes the example's mean, its minimum (silence) or its maximum. SoundCLR fills
    with 0 on a scale of decibels below the maximum, which makes a mask the loudest thing there is:
    "maximum" does the same, "minimum" is the sound way on such a scale.

    Attributes:
      num_time_masks: masks over frames.
      max_time_frames: the widest of them, in frames.
      num_mel_masks: masks over mel bands.
      max_mel_bands: the widest of them, in bands.
      fill: what is put there.
      num_maps: log-mel maps that lie side by side on the mel axis (see `LogMelMaps`); each gets the
        same masks.
    """

    num_time_masks: int = 1
    max_time_frames: int = 40
    num_mel_masks: int = 2
    max_mel_bands: int = 10
    fill: Fill = "mean"
    num_maps: int = 1

    def __post_init__(self) -> None:
        if min(self.num_time_masks, self.num_mel_masks) < 0:
            raise ValueError(f"the number of masks must not be negative, got {self}")
        if min(self.max_time_frames, self.max_mel_bands) < 0:
            raise ValueError(f"the width of masks must not be negative, got {self}")
        if self.fill not in get_args(Fill):
            raise ValueError(f"fill must be one of {get_args(Fill)}, got {self.fill!r}")

    @property
    def num_uniforms(self) -> int:
        return 2 * (self.num_time_masks + self.num_mel_masks)

    def __call__(self, log_mel: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """See `Augmentation`."""
        time, mel = split_uniforms(uniforms, [2 * self.num_time_masks, 2 * self.num_mel_masks])
        frames, bands = tf.shape(log_mel)[1], tf.shape(log_mel)[2]
        in_time = _masked(time, length=frames, max_width=self.max_time_frames)  # [batch, frames]
        if self.num_maps > 1:
            bands //= self.num_maps
        in_mel = _masked(mel, length=bands, max_width=self.max_mel_bands)  # [batch, mels]
        if self.num_maps > 1:
            in_mel = tf.tile(in_mel, [1, self.num_maps])
        masked = in_time[:, :, tf.newaxis] | in_mel[:, tf.newaxis, :]  # [batch, frames, mels]
        reduce = {"mean": tf.reduce_mean, "minimum": tf.reduce_min, "maximum": tf.reduce_max}
        filling = reduce[self.fill](log_mel, axis=[1, 2], keepdims=True)
        return tf.where(masked, filling, log_mel)


def _masked(uniforms: tf.Tensor, *, length: tf.Tensor, max_width: int) -> tf.Tensor:
    """Tells which of `length` places any of the masks covers, [batch, length] bool."""
    widths, places = tf.split(uniforms, 2, axis=-1)  # [batch, masks] each
    widest = tf.minimum(max_width, length)
    width = tf.math.floor(widths * tf.cast(widest + 1, tf.float32))
    room = tf.cast(length, tf.float32) - width + 1.0
    start = tf.math.floor(places * room)
    position = tf.range(length, dtype=tf.int32)
    position = tf.cast(position, tf.float32)[tf.newaxis, :, tf.newaxis]
    start, width = start[:, tf.newaxis, :], width[:, tf.newaxis, :]  # [batch, 1, masks]
    covered = (position >= start) & (position < start + width)  # [batch, length, masks]
    return tf.reduce_any(covered, axis=-1)


@dataclass(frozen=True)
class RandomEqualization:
    """A random smooth filter and a random loss of level, without separating anything.

    It is the control for views made by a separator: a separated channel differs from its mixture
    in spectral colour and level, and so does this. The gain is a natural cubic spline over the
    mel axis through normally distributed knots; it is added to the logarithm of power.

    Attributes:
      num_knots: knots, equally spaced from the lowest to the highest band.
      knot_deviation: standard deviation of a knot's gain, in nat of power (1 nat = 4.3 dB).
      max_level_drop: the level falls by 0 to this many nat, uniformly.
    """

    num_knots: int = 8
    knot_deviation: float = 1.5
    max_level_drop: float = 3.0

    def __post_init__(self) -> None:
        if self.num_knots < 2:
            raise ValueError(f"num_knots must be at least 2, got {self.num_knots}")

    @property
    def num_uniforms(self) -> int:
        return self.num_knots + 1

    def __call__(self, log_mel: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """See `Augmentation`."""
        knots, level = split_uniforms(uniforms, [self.num_knots, 1])
        # Uniforms are multiples of 2^-24 or so and may be 0, where the normal is infinite.
        knots = tf.math.ndtri(tf.clip_by_value(knots, 1e-6, 1.0 - 1e-6)) * self.knot_deviation
        gain = tf.matmul(knots, _spline(self.num_knots, log_mel.shape[-1]))  # [batch, mels]
        gain -= level * self.max_level_drop
        return log_mel + gain[:, tf.newaxis, :]


@functools.lru_cache(maxsize=8)
def _spline(num_knots: int, num_mels: int) -> np.ndarray:
    """The matrix [knots, mels] that carries values at the knots to every band."""
    knots, values = np.linspace(0.0, 1.0, num_knots), np.eye(num_knots)
    width = np.diff(knots)[:, np.newaxis]
    rise = np.diff(values, axis=0) / width
    slope = _natural_slopes(width, values)
    # In each interval the cubic with these values and slopes at its ends, by powers of the way.
    bend = (slope[:-1] + slope[1:] - 2 * rise) / width
    powers = (values[:-1], slope[:-1], (rise - slope[:-1]) / width - bend, bend / width)
    band = np.linspace(0.0, 1.0, num_mels)
    interval = np.clip(np.searchsorted(knots, band, side="right") - 1, 0, num_knots - 2)
    way = (band - knots[interval])[:, np.newaxis]
    curve, power = np.zeros((num_mels, num_knots)), np.ones_like(way)
    for coefficient in powers:
        curve += coefficient[interval] * power
        power = power * way
    return curve.T.astype(np.float32)


def _natural_slopes(width: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The slopes at the knots, [knots, ...], that leave no jump and, outside, no bend.

    As `scipy.interpolate.CubicSpline` has them, to the bit: importing that takes a third of a
    second of processor time, which every pretraining would pay.

    Args:
      width: of the intervals between knots, [knots - 1, 1].
      values: at the knots, [knots, ...].
    """
    bands = np.zeros((3, len(width) + 1))  # above, on and below the diagonal
    bands[0, 1], bands[0, 2:] = width[0, 0], width[:-1, 0]
    bands[1, 0], bands[1, -1] = 2 * width[0, 0], 2 * width[-1, 0]
    bands[1, 1:-1] = 2 * (width[:-1, 0] + width[1:, 0])
    bands[2, :-2], bands[2, -2] = width[1:, 0], width[-1, 0]
    rise = np.diff(values, axis=0) / width
    inside = 3 * (width[1:] * rise[:-1] + width[:-1] * rise[1:])
    first, last = 3 * (values[1:2] - values[:1]), 3 * (values[-1:] - values[-2:-1])
    return linalg.solve_banded((1, 1), bands, np.concatenate([first, inside, last]))
