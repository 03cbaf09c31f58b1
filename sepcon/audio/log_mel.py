"""Waveform to log-mel spectrogram, on a natural or on a relative decibel scale."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ

_DB_PER_NEPER_OF_POWER = 10.0 / math.log(10.0)


@dataclass(frozen=True)
class LogMel:
    """Log-mel spectrogram: ln(floor + mel power), frames taken without padding.

    With `range_db` the encoder gets decibels relative to the loudest value of its patch instead, as
    in SoundCLR (Nasiri and Hu, 2021): 0 dB at the loudest value; what is weaker than -range_db is
    set to -range_db. A floor as low as 1e-10 then has no effect.

    The mel power is the squared magnitude of the short-time Fourier transform (periodic Hann
    window, not normalised) summed with triangular weights on the HTK mel scale. Noise of RMS 0.1
    has a power of about 1.5 per Fourier bin, so a floor of 1e-3 lies about 30 dB below that.

    Attributes:
      sample_rate_hz: samples per second of the waveforms.
      window_seconds: length of one frame.
      hop_seconds: distance of two frames.
      num_mels: mel bands.
      min_hz: lower edge of the lowest band.
      max_hz: upper edge of the highest band, at most half the sample rate.
      floor: added to the mel power before the logarithm, above 0.
      range_db: range of the decibels below the loudest value of a patch, above 0; None keeps the
        natural logarithm of power.
    """

    sample_rate_hz: int = SAMPLE_RATE_HZ
    window_seconds: float = 0.025
    hop_seconds: float = 0.010
    num_mels: int = 64
    min_hz: float = 60.0
    max_hz: float = 7800.0
    floor: float = 1e-3
    range_db: float | None = None

    # One map, and patches of it can be cut out of that of a whole recording.
    num_maps = 1
    of_patches = False

    def __post_init__(self) -> None:
        if self.window_samples < 2 or self.hop_samples < 1:
            raise ValueError(
                f"window_seconds={self.window_seconds} and hop_seconds={self.hop_seconds} give "
                f"{self.window_samples} and {self.hop_samples} samples; need at least 2 and 1"
            )
        if not 0 <= self.min_hz < self.max_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"min_hz={self.min_hz} and max_hz={self.max_hz} must satisfy "
                f"0 <= min_hz < max_hz <= {self.sample_rate_hz / 2} (half the sample rate)"
            )
        if self.num_mels < 1 or self.floor <= 0:
            raise ValueError(
                f"num_mels={self.num_mels} must be at least 1, floor={self.floor} above 0"
            )
        if self.range_db is not None and not self.range_db > 0:
            raise ValueError(f"range_db={self.range_db} must be above 0, or None")

    @property
    def window_samples(self) -> int:
        return round(self.window_seconds * self.sample_rate_hz)

    @property
    def hop_samples(self) -> int:
        return round(self.hop_seconds * self.sample_rate_hz)

    @property
    def fft_size(self) -> int:
        """The smallest power of two that holds a window."""
        return 1 << (self.window_samples - 1).bit_length()

    def num_frames(self, samples: int) -> int:
        """Returns how many whole frames fit into `samples` samples."""
        return max(0, 1 + (samples - self.window_samples) // self.hop_samples)

    def num_samples(self, frames: int) -> int:
        """Returns the smallest number of samples that holds `frames` frames."""
        return (frames - 1) * self.hop_samples + self.window_samples if frames > 0 else 0

    def __call__(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes the input of an encoder from the waveform of each patch.

        Args:
          waveform: [..., samples] float32, full scale 1.

        Returns:
          [..., frames, mels] float32, natural logarithm of power, or decibels with `range_db`.
        """
        return self.scale(self.log_power(waveform))

    def scale(self, log_power: tf.Tensor) -> tf.Tensor:
        """Brings patches cut out of `log_power` to the scale of the encoder.

        Args:
          log_power: [..., frames, mels] float32, natural logarithm of power.

        Returns:
          the same shape; as it is without `range_db`.
        """
        if self.range_db is None:
            return log_power
        loudest = tf.reduce_max(log_power, axis=[-2, -1], keepdims=True)
        return tf.maximum((log_power - loudest) * _DB_PER_NEPER_OF_POWER, -self.range_db)

    def log_power(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes the natural logarithm of mel power of waveforms of any length.

        Args:
          waveform: [..., samples] float32, full scale 1.

        Returns:
          [..., frames, mels] float32.
        """
        power = self.power(waveform)
        weights = mel_weights(
            num_mels=self.num_mels,
            num_bins=self.fft_size // 2 + 1,
            sample_rate_hz=self.sample_rate_hz,
            min_hz=self.min_hz,
            max_hz=self.max_hz,
        )
        return tf.math.log(tf.matmul(power, weights) + self.floor)  # [..., frames, mels]

    @property
    def window(self) -> np.ndarray:
        """The periodic Hann window of a frame, [window samples] float32."""
        return _hann(self.window_samples)

    def power(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes the power of the Fourier bins of each frame.

        Args:
          waveform: [..., samples] float32, full scale 1.

        Returns:
          [..., frames, bins] float32.
        """
        # Frames as long as the transform, of which the window leaves the first part: so every
        # whole window makes a frame, and a waveform shorter than that makes none.
        padding = self.fft_size - self.window_samples
        padded = tf.pad(waveform, [[0, 0]] * (len(waveform.shape) - 1) + [[0, padding]])
        frames = tf.signal.frame(padded, self.fft_size, self.hop_samples)
        window = np.pad(self.window, (0, padding))
        spectrum = tf.signal.rfft(frames * window)  # [..., frames, bins]
        return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


@functools.lru_cache(maxsize=8)
def mel_weights(
    *, num_mels: int, num_bins: int, sample_rate_hz: int, min_hz: float, max_hz: float
) -> np.ndarray:
    """Triangular weights of mel bands over Fourier bins, equally spaced on the HTK mel scale.

    They are numpy, not a tensor, so that an exported graph holds them as a constant.

    Args:
      num_mels: mel bands.
      num_bins: bins of the real Fourier transform, from 0 Hz to half the sample rate.
      sample_rate_hz: samples per second.
      min_hz: lower edge of the lowest band.
      max_hz: upper edge of the highest band.

    Returns:
      [bins, mels] float32, each triangle 1 at its centre and linear in mel.
    """
    bin_hz = np.linspace(0.0, sample_rate_hz / 2, num_bins)
    bin_mel = _hz_to_mel(bin_hz)[:, np.newaxis]
    edges = np.linspace(_hz_to_mel(min_hz), _hz_to_mel(max_hz), num_mels + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bin_mel - lower) / (centre - lower)
    falling = (upper - bin_mel) / (upper - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling))  # [bins, mels]
    weights[0] = 0.0  # a constant offset of the recorder is not sound
    return weights.astype(np.float32)


def _hann(length: int) -> np.ndarray:
    """Periodic Hann window, [length] float32."""
    phase = 2.0 * np.pi * np.arange(length) / length
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def _hz_to_mel(hz: float | np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)
