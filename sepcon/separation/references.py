"""What figures of separation are compared with: the unseparated mixture, and ideal masks.

Both functions are given the true sources, which no separator knows.
"""

from __future__ import annotations

import tensorflow as tf

_WINDOW_SAMPLES = 512
_HOP_SAMPLES = 128
_FLOOR = 1e-12


def copied_mixture(mixture: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """Returns the mixture in every channel: an improvement of 0 dB, by definition.

    Args:
      mixture: [batch, samples] float32.
      sources: [batch, source, samples] float32, of which only the shape counts.

    Returns:
      [batch, source, samples] float32.
    """
    return tf.broadcast_to(mixture[:, tf.newaxis, :], tf.shape(sources))


def ideal_ratio_masks(mixture: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """Masks the mixture by each source's share of the magnitudes, |S_k| / sum_j |S_j|.

    The short-time Fourier transform has windows of 32 ms (square-root Hann) every 8 ms at 16 kHz.
    So this is roughly the best that real masks over the STFT of the default separator can reach;
    Erdogan et al., "Phase-sensitive and recognition-boosted speech separation using deep recurrent
    neural networks" (2015), compare such masks. The channels sum to the mixture.

    Args:
      mixture: [batch, samples] float32.
      sources: [batch, source, samples] float32, which sum to it.

    Returns:
      [batch, source, samples] float32.
    """
    num_samples = tf.shape(mixture)[-1]
    magnitude = tf.abs(_stft(sources))  # [batch, source, frames, bins]
    mask = magnitude / (tf.reduce_sum(magnitude, axis=1, keepdims=True) + _FLOOR)
    masked = tf.cast(mask, tf.complex64) * _stft(mixture)[:, tf.newaxis]
    waveform = tf.signal.inverse_stft(
        masked,
        _WINDOW_SAMPLES,
        _HOP_SAMPLES,
        window_fn=tf.signal.inverse_stft_window_fn(_HOP_SAMPLES, _window),
    )
    start = _WINDOW_SAMPLES - _HOP_SAMPLES
    return waveform[..., start : start + num_samples]


def _stft(waveform: tf.Tensor) -> tf.Tensor:
    """[..., samples] to [..., frames, bins], with every sample in as many frames as the others."""
    margin = _WINDOW_SAMPLES - _HOP_SAMPLES
    padded = tf.pad(waveform, [[0, 0]] * (waveform.shape.rank - 1) + [[margin, _WINDOW_SAMPLES]])
    return tf.signal.stft(padded, _WINDOW_SAMPLES, _HOP_SAMPLES, window_fn=_window)


def _window(length: int, dtype: tf.DType = tf.float32) -> tf.Tensor:
    return tf.sqrt(tf.signal.hann_window(length, periodic=True, dtype=dtype))
