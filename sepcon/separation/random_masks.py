"""Random time-frequency masks that separate nothing, with the energies of a separator's channels.

They are the control for views made by a separator: what these channels gain as well is an effect of
filtering and not of separation. They split the mixture into as many channels as the separator,
which sum to the mixture and have the energies of the separator's channels of the same clip. The
masks are smooth over time and frequency and do not depend on what sounds.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ

_WINDOW, _HOP = 512, 128
_ITERATIONS = 20
# Masks are smooth: their energies are told well enough by every fourth frame and second bin.
_EVERY_FRAME, _EVERY_BIN = 4, 2
# Shares and ratios of energy are held inside this distance from 0 and 1.
_MARGIN = 1e-4
_SCALES = (0.05, 50.0)


@dataclass(frozen=True)
class RandomMasks:
    """Splits mixtures by smooth random masks whose channels have given energies.

    The masks are the softmax over channels of s * (field + bias), where a field is a standard
    normal value at each knot, linear between the knots. The biases share out the energy, the
    sharpness s how large the sum of the energies is beside that of the mixture (1 where the masks
    are 0 or 1, 1 / channels where all are equal). Both are found clip by clip, by iteration.

    Attributes:
      knot_seconds: from knot to knot in time.
      num_frequency_knots: knots over frequency, equally far apart on the mel scale.
      sample_rate_hz: of the clips.
    """

    knot_seconds: float = 0.25
    num_frequency_knots: int = 8
    sample_rate_hz: int = SAMPLE_RATE_HZ

    def __post_init__(self) -> None:
        if self.knot_seconds <= 0 or self.num_frequency_knots < 2:
            raise ValueError(f"knots must be at least 2 and apart from each other, got {self}")

    def num_time_knots(self, samples: int) -> int:
        """Returns how many knots in time a clip of so many samples has."""
        return 1 + max(1, round(samples / self.sample_rate_hz / self.knot_seconds))

    def __call__(self, *, mixture: tf.Tensor, energies: tf.Tensor, normals: tf.Tensor) -> tf.Tensor:
        """Splits each mixture.

        Args:
          mixture: [batch, samples] float32.
          energies: [batch, channel] float32, sums of squares that the channels shall have.
          normals: [batch, channel, num_time_knots(samples), num_frequency_knots] float32, standard
            normal: the randomness.

        Returns:
          [batch, channel, samples] float32, which sum to the mixture within rounding.
        """
        samples = mixture.shape[-1]
        padded = tf.pad(mixture, [[0, 0], [_WINDOW, _WINDOW + _HOP]])
        spectrum = tf.signal.stft(padded, _WINDOW, _HOP)  # [batch, frames, bins]
        in_time = _between(np.linspace(0.0, 1.0, normals.shape[2]), spectrum.shape[1])
        in_frequency = _over_frequency(
            self.num_frequency_knots, spectrum.shape[2], self.sample_rate_hz
        )
        fields = tf.einsum("bmtf,tT,fF->bmTF", normals, in_time, in_frequency)
        bias, sharpness = _calibrate(fields, tf.abs(spectrum) ** 2, energies, _energy(mixture))
        masks = _masks(fields, bias, sharpness)
        masked = tf.complex(masks, 0.0) * spectrum[:, tf.newaxis]  # [batch, channel, frames, bins]
        inverse = tf.signal.inverse_stft(
            masked, _WINDOW, _HOP, window_fn=tf.signal.inverse_stft_window_fn(_HOP)
        )
        return inverse[..., _WINDOW : _WINDOW + samples]


def _calibrate(
    fields: tf.Tensor, power: tf.Tensor, energies: tf.Tensor, of_mixture: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds biases and sharpness that give the channels nearly the energies asked for.

    Args:
      fields: [batch, channel, frames, bins] float32.
      power: [batch, frames, bins] float32, squared magnitudes of the mixture.
      energies: [batch, channel] float32.
      of_mixture: [batch] float32, energies of the mixtures.

    Returns:
      bias [batch, channel] and sharpness [batch].
    """
    total = tf.reduce_sum(energies, axis=-1)  # [batch]
    wanted = tf.maximum(tf.math.divide_no_nan(energies, total[:, tf.newaxis]), _MARGIN)
    overlap = 1.0 - tf.math.divide_no_nan(total, of_mixture)
    overlap = tf.clip_by_value(overlap, 100 * _MARGIN, 1.0 - _MARGIN)
    stride = [_EVERY_FRAME, _EVERY_BIN]
    power = tf.nn.avg_pool2d(power[..., tf.newaxis], stride, stride, "SAME")[..., 0]
    power /= tf.reduce_sum(power, axis=[1, 2], keepdims=True) + 1e-20
    fields = fields[:, :, ::_EVERY_FRAME, ::_EVERY_BIN]
    bias, sharpness = tf.math.log(wanted), tf.ones_like(total)
    for _ in range(_ITERATIONS):
        found = tf.einsum("bmtf,btf->bm", _masks(fields, bias, sharpness) ** 2, power)
        found_sum = tf.reduce_sum(found, axis=-1)
        share = found / (found_sum[:, tf.newaxis] + 1e-20)
        # About Newton's step where the masks are soft. Where they are sharp a small channel hangs
        # by the slopes of a few hills, and longer steps would throw it to and fro.
        step = 0.08 + 0.4 / sharpness[:, tf.newaxis]
        bias += step * tf.clip_by_value(tf.math.log(wanted / (share + 1e-9)), -2.0, 2.0)
        # Sharper masks overlap less: the sum of the channels' energies rises with s.
        change = tf.sqrt((1.0 - found_sum) / overlap)
        sharpness *= tf.clip_by_value(change, 0.7, 1.4)
        sharpness = tf.clip_by_value(sharpness, *_SCALES)
    return bias, sharpness


def _masks(fields: tf.Tensor, bias: tf.Tensor, sharpness: tf.Tensor) -> tf.Tensor:
    shifted = fields + bias[:, :, tf.newaxis, tf.newaxis]
    return tf.nn.softmax(sharpness[:, tf.newaxis, tf.newaxis, tf.newaxis] * shifted, axis=1)


@functools.lru_cache(maxsize=8)
def _over_frequency(num_knots: int, num_bins: int, sample_rate_hz: int) -> np.ndarray:
    """The matrix [knots, bins] that carries values at knots on the mel scale to Fourier bins."""
    mel = np.log1p(np.linspace(0.0, sample_rate_hz / 2, num_bins) / 700.0)
    return _linear(np.linspace(0.0, mel[-1], num_knots), mel)


def _between(knots: np.ndarray, count: int) -> np.ndarray:
    """The matrix [knots, count] of linear interpolation at equally spaced places."""
    return _linear(knots, np.linspace(knots[0], knots[-1], count))


def _linear(knots: np.ndarray, places: np.ndarray) -> np.ndarray:
    rows = [np.interp(places, knots, unit) for unit in np.eye(len(knots))]
    return np.stack(rows).astype(np.float32)


def _energy(audio: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(audio), axis=-1)
