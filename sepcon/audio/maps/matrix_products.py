"""Fourier transforms as matrix products, for graphs without FFT and complex numbers.

TensorFlow Lite has no complex numbers among its built-in operations, and ONNX converters refuse
their parts. A spectrum is then one matrix: the real parts of all bins, and their imaginary parts
behind them.
"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.audio.maps.log_mel_maps import FrontEnd


def dft_matrix(window: np.ndarray, fft_length: int) -> np.ndarray:
    """What frames are multiplied by for their windowed Fourier transform.

    Args:
      window: [samples].
      fft_length: length of the transform, at least that of the window.

    Returns:
      [samples, 2 * bins] float32, computed in double precision.
    """
    cosine, sine = _waves(len(window), fft_length)
    return (window[:, np.newaxis] * np.concatenate([cosine, -sine], 1)).astype(np.float32)


def inverse_dft_matrix(window: np.ndarray, fft_length: int) -> np.ndarray:
    """What spectra are multiplied by to become windowed frames again.

    Args:
      window: [samples].
      fft_length: length of the transform, even, at least that of the window.

    Returns:
      [2 * bins, samples] float32, computed in double precision.
    """
    cosine, sine = _waves(len(window), fft_length)
    # All bins but the first and the last stand for their mirror image as well.
    weight = np.full(fft_length // 2 + 1, 2.0 / fft_length)
    weight[[0, -1]] /= 2.0
    rows = np.concatenate([weight * cosine, -weight * sine], 1).T
    return (rows * window).astype(np.float32)


class DftLogMel(LogMel):
    """`LogMel` without FFT and complex numbers."""

    def power(self, waveform: tf.Tensor) -> tf.Tensor:
        """Power of the Fourier bins of each frame; see `LogMel.power`."""
        frames = tf.signal.frame(waveform, self.window_samples, self.hop_samples)
        parts = tf.matmul(frames, dft_matrix(self.window, self.fft_size))
        real, imaginary = tf.split(tf.square(parts), 2, axis=-1)
        return real + imaginary


def by_matrix_products(front_end: FrontEnd) -> FrontEnd:
    """Returns the same front-end without FFT and complex numbers.

    Args:
      front_end: any; as it is, its numbers differ by rounding alone.
    """
    if isinstance(front_end, LogMel):
        return DftLogMel(**dataclasses.asdict(front_end))
    twin = copy.copy(front_end)
    # What the cached property holds once it was asked for.
    vars(twin)["_maps"] = tuple(by_matrix_products(each) for each in front_end._maps)
    return twin


def _waves(num_samples: int, fft_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of all bins, [samples, bins] float64 each."""
    turns = np.outer(np.arange(num_samples), np.arange(fft_length // 2 + 1)) % fft_length
    phase = 2.0 * np.pi * turns / fft_length
    return np.cos(phase), np.sin(phase)
