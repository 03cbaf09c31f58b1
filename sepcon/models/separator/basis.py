"""The two bases that sounds are masked in: a short-time Fourier transform or a learned one.

Both have the same three methods, between which a network predicts masks:
`encode` (mixture to coefficients), `features` (coefficients to the network's input) and
`decode` (mask logits and coefficients to sources).
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from sepcon.models.separator.cumulative_norm import cumulative_norm
from sepcon.replicas import xla_island

_LAYER_NORM_EPSILON = 1e-3


class StftBasis(keras.layers.Layer):
    """Short-time Fourier transform with a square-root Hann window.

    Args:
      window_samples: length of a frame.
      hop_samples: from frame to frame, at most half of the window.
      causal: whether magnitudes are normalised by those up to their frame.
    """

    def __init__(
        self,
        *,
        window_samples: int,
        hop_samples: int,
        causal: bool = False,
        name: str = "stft_basis",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.hop = hop_samples
        self._causal = causal
        self.fft_length = 1 << (window_samples - 1).bit_length()
        self.num_coefficients = self.fft_length // 2 + 1
        # Of an odd length TensorFlow's Hann window is the symmetric one, so of the reference too.
        period = window_samples - window_samples % 2
        self.window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_samples) / period))
        # Frames are windowed a second time on the way back; overlapping squares are divided out.
        squares = np.pad(np.square(self.window), [0, -window_samples % hop_samples])
        overlapping = np.sum(squares.reshape(-1, hop_samples), axis=0)
        self.inverse_window = self.window / np.resize(overlapping, window_samples)
        self.gain = self.add_weight(shape=(), initializer="ones", name="gain")
        self.bias = self.add_weight(shape=(), initializer="zeros", name="bias")
        self.built = True

    def encode(self, mixture: tf.Tensor) -> tf.Tensor:
        """[batch, samples] float32 to [batch, ceil(samples / hop), bins] complex64."""
        frames = self.frames(mixture)
        return tf.signal.rfft(frames * _constant(self.window), [self.fft_length])

    def frames(self, mixture: tf.Tensor) -> tf.Tensor:
        """[batch, samples] float32 to [batch, ceil(samples / hop), window], not yet windowed."""
        num_frames = -(-_length(mixture, 1) // self.hop)
        return frame(mixture, len(self.window), self.hop, num_frames)

    def features(self, coefficients: tf.Tensor) -> tf.Tensor:
        """Magnitudes, normalised over a clip's frames and bins: [batch, frames, bins] float32."""
        return self.normalised(tf.abs(coefficients))

    def normalised(self, magnitude: tf.Tensor) -> tf.Tensor:
        """What `features` makes of magnitudes [batch, frames, bins] float32."""
        if self._causal:
            gain, bias = tf.convert_to_tensor(self.gain), tf.convert_to_tensor(self.bias)
            return cumulative_norm(magnitude, gain=gain, bias=bias, over_channels=True)
        mean, variance = tf.nn.moments(magnitude, [1, 2], keepdims=True)
        scale = tf.convert_to_tensor(self.gain) * tf.math.rsqrt(variance + _LAYER_NORM_EPSILON)
        return magnitude * scale + (tf.convert_to_tensor(self.bias) - mean * scale)

    def decode(
        self, logits: tf.Tensor, coefficients: tf.Tensor, num_samples: tf.Tensor, compiled: bool
    ) -> tf.Tensor:
        """Masks the mixture's coefficients and goes back to waveforms.

        Args:
          logits: [batch, frames, source, bins] float32, before the sigmoid.
          coefficients: [batch, frames, bins] complex64.
          num_samples: length to cut the result to.
          compiled: whether XLA compiles the parts between the Fourier transforms.

        Returns:
          [batch, source, samples] float32.
        """
        window = _constant(self.inverse_window)
        waveform = _masked_inverse_stft(
            logits, coefficients, window, self.hop, self.fft_length, compiled
        )
        return cut_to(waveform, num_samples)


class LearnedBasis(keras.layers.Layer):
    """A trained linear basis behind a ReLU, and a trained one for the way back.

    Luo and Mesgarani 2019, "Conv-TasNet".

    Args:
      window_samples: length of a frame.
      hop_samples: from frame to frame, at most half of the window.
      num_coefficients: what a frame is encoded in.
    """

    def __init__(
        self,
        *,
        window_samples: int,
        hop_samples: int,
        num_coefficients: int,
        name: str = "learned_basis",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.hop = hop_samples
        self.num_coefficients = num_coefficients
        self.encoder = self.add_weight(
            shape=(window_samples, num_coefficients), initializer="glorot_uniform", name="encoder"
        )
        self.decoder = self.add_weight(
            shape=(num_coefficients, window_samples), initializer="glorot_uniform", name="decoder"
        )
        self.built = True

    def encode(self, mixture: tf.Tensor) -> tf.Tensor:
        """[batch, samples] float32 to [batch, frames, coefficients] float32."""
        window = self.encoder.shape[0]
        beyond_first = -(-(_length(mixture, 1) - window) // self.hop)
        frames = frame(mixture, window, self.hop, 1 + tf.maximum(beyond_first, 0))
        return tf.nn.relu(tf.matmul(frames, tf.convert_to_tensor(self.encoder)))

    def features(self, coefficients: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients [batch, frames, coefficients] as they are."""
        return coefficients

    def decode(
        self, logits: tf.Tensor, coefficients: tf.Tensor, num_samples: tf.Tensor, compiled: bool
    ) -> tf.Tensor:
        """Masks the mixture's coefficients and goes back to waveforms; see `StftBasis.decode`."""
        del compiled  # nothing here is worth an island
        masked = tf.sigmoid(logits) * coefficients[:, :, tf.newaxis, :]
        frames = tf.matmul(masked, tf.convert_to_tensor(self.decoder))
        return cut_to(overlap_add(frames, self.hop), num_samples)


def frame(waveform: tf.Tensor, window: int, hop: int, num_frames: tf.Tensor | int) -> tf.Tensor:
    """Cuts a waveform into overlapping frames, zeros after its end.

    Args:
      waveform: [batch, samples] float32.
      window: length of a frame.
      hop: from frame to frame.
      num_frames: how many; frames that would start behind the end are zero.

    Returns:
      [batch, num_frames, window] float32.
    """
    num_pieces = _num_pieces(window, hop)
    missing = (num_pieces + num_frames - 1) * hop - _length(waveform, 1)
    padded = tf.pad(waveform, [[0, 0], [0, missing]])
    hops = tf.reshape(padded, [tf.shape(waveform)[0], -1, hop])
    return _joined_pieces(hops, window, num_frames)


def overlap_add(frames: tf.Tensor, hop: int) -> tf.Tensor:
    """Adds overlapping frames up, the transpose of `frame`.

    Args:
      frames: [batch, frames, source, window] float32.
      hop: from frame to frame.

    Returns:
      [batch, source, samples] float32, with zeros behind the last frame to a whole number of hops.
    """
    window = frames.shape[3]
    num_pieces = _num_pieces(window, hop)
    if window % hop:
        frames = tf.pad(frames, [[0, 0], [0, 0], [0, 0], [0, -window % hop]])
    pieces = tf.split(frames, num_pieces, axis=3)
    shifted = [
        tf.pad(piece, [[0, 0], [k, num_pieces - 1 - k], [0, 0], [0, 0]])
        for k, piece in enumerate(pieces)
    ]
    hops = tf.transpose(
        tf.add_n(shifted), [0, 2, 1, 3]
    )  # [batch, source, frames + pieces - 1, hop]
    return tf.reshape(hops, [tf.shape(hops)[0], hops.shape[1], -1])


def _masked_inverse_stft(
    logits: tf.Tensor,
    spectrum: tf.Tensor,
    window: tf.Tensor,
    hop: int,
    fft_length: int,
    compiled: bool,
) -> tf.Tensor:
    """Sigmoid masks times a spectrum, to waveforms, with a gradient for the logits only.

    The widest tensors of a separator are here (sources x bins, complex). The spectrum is the
    mixture's, which is data: its gradient is not asked for and not computed. So the gradient
    needs no complex product but the real part of one.
    """
    mask, unmask, add, cut = _islands[compiled]

    @tf.custom_gradient
    def operation(logits: tf.Tensor, spectrum: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
            spectra = tf.signal.rfft(cut(upstream, window, hop), [fft_length])
            return unmask(spectra, logits, spectrum), None

        frames = tf.signal.irfft(mask(logits, spectrum), [fft_length])
        return add(frames, window, hop), gradient

    return operation(logits, spectrum)


def _mask(logits: tf.Tensor, spectrum: tf.Tensor) -> tf.Tensor:
    mask = tf.sigmoid(logits)
    real = tf.math.real(spectrum)[:, :, tf.newaxis, :]
    imaginary = tf.math.imag(spectrum)[:, :, tf.newaxis, :]
    return tf.complex(mask * real, mask * imaginary)


def _unmask(spectra: tf.Tensor, logits: tf.Tensor, spectrum: tf.Tensor) -> tf.Tensor:
    """Gradient of a real signal's inverse transform with respect to the logits of its mask."""
    mask = tf.sigmoid(logits)
    real = tf.math.real(spectrum)[:, :, tf.newaxis, :]
    imaginary = tf.math.imag(spectrum)[:, :, tf.newaxis, :]
    product = tf.math.real(spectra) * real + tf.math.imag(spectra) * imaginary
    bins = spectrum.shape[2]
    # All bins but the first and the last stand for their mirror image as well.
    weight = np.full([bins], 2.0 / (2 * bins - 2), np.float32)
    weight[[0, -1]] /= 2.0
    return product * mask * (1.0 - mask) * weight


def _windowed_overlap_add(frames: tf.Tensor, window: tf.Tensor, hop: int) -> tf.Tensor:
    return overlap_add(frames[..., : window.shape[0]] * window, hop)


def _windowed_frames(waveform: tf.Tensor, window: tf.Tensor, hop: int) -> tf.Tensor:
    shape = tf.shape(waveform)
    hops = tf.reshape(waveform, [shape[0], waveform.shape[1], -1, hop])
    hops = tf.transpose(hops, [0, 2, 1, 3])  # [batch, frames + pieces - 1, source, hop]
    num_frames = _length(hops, 1) - _num_pieces(window.shape[0], hop) + 1
    return _joined_pieces(hops, window.shape[0], num_frames) * window


def _joined_pieces(hops: tf.Tensor, window: int, num_frames: tf.Tensor | int) -> tf.Tensor:
    """Frames of a waveform that is cut into hops: [batch, hops, ..., hop] to [..., window]."""
    hop = hops.shape[-1]
    pieces = [hops[:, k : k + num_frames] for k in range(_num_pieces(window, hop))]
    frames = tf.concat(pieces, axis=-1)
    return frames[..., :window] if window % hop else frames


def _num_pieces(window: int, hop: int) -> int:
    """Of how many hops a frame has a part."""
    return -(-window // hop)


def cut_to(waveform: tf.Tensor, num_samples: tf.Tensor | int) -> tf.Tensor:
    """The first `num_samples`; the gradient of `tf.slice` is far faster than that of `x[:n]`."""
    shape = tf.concat([tf.shape(waveform)[:2], [num_samples]], 0)
    cut = tf.slice(waveform, [0, 0, 0], shape)
    static = num_samples if isinstance(num_samples, int) else None
    return tf.ensure_shape(cut, [waveform.shape[0], waveform.shape[1], static])


def _length(x: tf.Tensor, axis: int) -> tf.Tensor | int:
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _constant(array: np.ndarray) -> tf.Tensor:
    return tf.constant(array, tf.float32)


_PLAIN = (_mask, _unmask, _windowed_overlap_add, _windowed_frames)
_islands: dict[bool, tuple[Callable, ...]] = {
    False: _PLAIN,
    True: tuple(xla_island(function) for function in _PLAIN),
}
