"""The STFT basis by matrix products, for graphs without FFT and complex numbers."""

from __future__ import annotations

import tensorflow as tf

from sepcon.audio.maps.matrix_products import dft_matrix, inverse_dft_matrix
from sepcon.models.separator.basis import StftBasis, cut_to, overlap_add


class DftBasis(StftBasis):
    """`StftBasis` whose coefficients are real parts of all bins, and imaginary parts behind them.

    For use alone: it has no gradient of its own, and is slower than FFT.
    """

    def encode(self, mixture: tf.Tensor) -> tf.Tensor:
        """[batch, samples] float32 to [batch, ceil(samples / hop), 2 * bins] float32."""
        return tf.matmul(self.frames(mixture), dft_matrix(self.window, self.fft_length))

    def features(self, coefficients: tf.Tensor) -> tf.Tensor:
        """Magnitudes, normalised over a clip's frames and bins: [batch, frames, bins] float32."""
        real, imaginary = tf.split(tf.square(coefficients), 2, axis=-1)
        return self.normalised(tf.sqrt(real + imaginary))

    def decode(
        self, logits: tf.Tensor, coefficients: tf.Tensor, num_samples: tf.Tensor, compiled: bool
    ) -> tf.Tensor:
        """Masks the mixture's coefficients and goes back to waveforms; see `StftBasis.decode`."""
        del compiled  # nothing here is worth an island
        mask = tf.sigmoid(logits)
        spectra = tf.concat([mask, mask], -1) * coefficients[:, :, tf.newaxis, :]
        frames = tf.matmul(spectra, inverse_dft_matrix(self.inverse_window, self.fft_length))
        return cut_to(overlap_add(frames, self.hop), num_samples)
