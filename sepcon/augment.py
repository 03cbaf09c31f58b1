"""Augmentations of log-mel patches, all randomness of which comes in from outside.

A row of `uniforms` decides everything that happens to its example. So a step can be repeated, it
does not depend on how many replicas share the batch, and no shape depends on a random number.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf
from scipy import interpolate


class Augmentation(Protocol):
    """Changes log-mel patches at random."""

    @property
    def num_uniforms(self) -> int:
        """How many columns of random numbers one example takes."""
        ...

    def __call__(self, log_mel: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Changes each patch as its row of uniforms says.

        Args:
          log_mel: [batch, frames, mels] float32, natural logarithm of power.
          uniforms: [batch, num_uniforms] float32 in [0, 1).

        Returns:
          [batch, frames, mels] float32.
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
    """Augmentations one after the other; an empty chain changes nothing."""

    augmentations: tuple[Augmentation, ...] = ()

    @property
    def num_uniforms(self) -> int:
        return sum(each.num_uniforms for each in self.augmentations)

    def __call__(self, log_mel: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        parts = split_uniforms(uniforms, [each.num_uniforms for each in self.augmentations] or [0])
        for each, part in zip(self.augmentations, parts, strict=False):
            log_mel = each(log_mel, part)
        return log_mel


@dataclass(frozen=True)
class SpecAugment:
    """Masks bands of time and of mel frequency (Park et al., 2019, without time warping).

    Each mask has a width drawn uniformly from 0 to its maximum, both included, and a place drawn
    uniformly among those where it fits. What is masked takes the example's mean.

    Attributes:
      num_time_masks: masks over frames.
      max_time_frames: the widest of them, in frames.
      num_mel_masks: masks over mel bands.
      max_mel_bands: the widest of them, in bands.
    """

    num_time_masks: int = 1
    max_time_frames: int = 40
    num_mel_masks: int = 2
    max_mel_bands: int = 10

    def __post_init__(self) -> None:
        if min(self.num_time_masks, self.num_mel_masks) < 0:
            raise ValueError(f"the number of masks must not be negative, got {self}")
        if min(self.max_time_frames, self.max_mel_bands) < 0:
            raise ValueError(f"the width of masks must not be negative, got {self}")

    @property
    def num_uniforms(self) -> int:
        return 2 * (self.num_time_masks + self.num_mel_masks)

    def __call__(self, log_mel: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        time, mel = split_uniforms(uniforms, [2 * self.num_time_masks, 2 * self.num_mel_masks])
        frames, bands = tf.shape(log_mel)[1], tf.shape(log_mel)[2]
        in_time = _masked(time, length=frames, max_width=self.max_time_frames)  # [batch, frames]
        in_mel = _masked(mel, length=bands, max_width=self.max_mel_bands)  # [batch, mels]
        masked = in_time[:, :, tf.newaxis] | in_mel[:, tf.newaxis, :]  # [batch, frames, mels]
        mean = tf.reduce_mean(log_mel, axis=[1, 2], keepdims=True)
        return tf.where(masked, mean, log_mel)


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
        knots, level = split_uniforms(uniforms, [self.num_knots, 1])
        # Uniforms are multiples of 2^-24 or so and may be 0, where the normal is infinite.
        knots = tf.math.ndtri(tf.clip_by_value(knots, 1e-6, 1.0 - 1e-6)) * self.knot_deviation
        gain = tf.matmul(knots, _spline(self.num_knots, log_mel.shape[-1]))  # [batch, mels]
        gain -= level * self.max_level_drop
        return log_mel + gain[:, tf.newaxis, :]


@functools.lru_cache(maxsize=8)
def _spline(num_knots: int, num_mels: int) -> np.ndarray:
    """The matrix [knots, mels] that carries values at the knots to every band."""
    knots = np.linspace(0.0, 1.0, num_knots)
    unit = interpolate.CubicSpline(knots, np.eye(num_knots), bc_type="natural")
    return unit(np.linspace(0.0, 1.0, num_mels)).T.astype(np.float32)
