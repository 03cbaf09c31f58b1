"""Clips that are there as a whole: energies of their patches, and the patches themselves."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from sepcon.views.augment import movable


@dataclasses.dataclass(frozen=True)
class WholeClips:
    """Waveforms on the device, or in the input pipeline, taken apart by frames; no loops.

    Attributes:
      mixture: [batch, samples] int16 or float32.
      channels: [batch, channel, samples] of the same type, or None.
      patch_samples: length of a patch.
      hop_samples: length of a frame.
      precision: of energies. float64 holds the sums of squares of int16 exactly; accelerators have
        none, or a slow one.
    """

    mixture: tf.Tensor
    channels: tf.Tensor | None
    patch_samples: int
    hop_samples: int
    precision: tf.DType = tf.float32

    def of_mixture(self, starts: tf.Tensor) -> tf.Tensor:
        """See `PatchEnergies`."""
        frames = self._energies(self._mixture)[..., 0]  # [batch, frame]
        return tf.reduce_sum(tf.gather(frames, self._windows(starts), batch_dims=1), axis=-1)

    def of_channels(self, start: tf.Tensor) -> tf.Tensor:
        """See `PatchEnergies`."""
        frames = self._energies(self._channels)  # [batch, frame, channel]
        return tf.reduce_sum(tf.gather(frames, self._windows(start), batch_dims=1), axis=1)

    def cut(self, row: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        """Cuts a patch out of each clip.

        Args:
          row: [batch] float32 of whole numbers, 0 for the mixture, 1 + c for channel c.
          start: [batch] float32 likewise, the frame that it begins with.

        Returns:
          [batch, patch_samples] of the type of the mixture.
        """
        patch = self._taken(self._mixture, tf.zeros_like(row), start)
        if self.channels is None:
            return patch
        of_channel = self._taken(self._channels, tf.nn.relu(row - 1.0), start)
        return tf.where((row > 0.0)[:, tf.newaxis], of_channel, patch)

    @functools.cached_property
    def _mixture(self) -> tf.Tensor:
        return self._framed(self.mixture[:, tf.newaxis])

    @functools.cached_property
    def _channels(self) -> tf.Tensor:
        return self._framed(self.channels)

    def _framed(self, rows: tf.Tensor) -> tf.Tensor:
        """Rows [batch, row, samples] in frames, [batch, row, frame, hop], zeros behind the end."""
        hop = self.hop_samples
        if rows.shape[-1] is None or rows.shape[-1] % hop:
            rows = tf.pad(rows, [[0, 0], [0, 0], [0, -tf.shape(rows)[-1] % hop]])
        batch, count, samples = tf.unstack(tf.shape(rows))
        return tf.reshape(rows, [batch, count, samples // hop, hop])

    def _energies(self, framed: tf.Tensor) -> tf.Tensor:
        """Those of all frames, [batch, frame, row]."""
        energies = tf.reduce_sum(tf.square(tf.cast(framed, self.precision)), axis=-1)
        return tf.transpose(energies, [0, 2, 1])

    def _windows(self, starts: tf.Tensor) -> tf.Tensor:
        """The whole frames of patches, [..., frames]."""
        frames = tf.range(self.patch_samples // self.hop_samples, dtype=tf.int64)
        return tf.cast(starts, tf.int64)[..., tf.newaxis] + frames

    def _taken(self, framed: tf.Tensor, row: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        """One stretch of each example, by one gather of frames, [batch, patch_samples]."""
        batch, rows, frames = tf.unstack(tf.shape(framed, tf.int64)[:3])
        # int64: accelerators have no arithmetic of int32.
        first = (tf.range(batch) * rows + tf.cast(row, tf.int64)) * frames + tf.cast(
            start, tf.int64
        )
        count = -(-self.patch_samples // self.hop_samples)
        flat = tf.reshape(movable(framed), [-1, self.hop_samples])
        taken = tf.gather(flat, first[:, tf.newaxis] + tf.range(count, dtype=tf.int64))
        samples = tf.reshape(taken, [batch, count * self.hop_samples])[:, : self.patch_samples]
        samples = tf.bitcast(samples, framed.dtype)
        return tf.ensure_shape(samples, [self.mixture.shape[0], self.patch_samples])
