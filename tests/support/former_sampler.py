"""The sampler of views before patches were drawn by energies of frames, as a second opinion.

Of commit 706b764, where it drew from whole waveforms at any sample. With frames of one sample, that
is what the sampler of today does.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.views.augment import crop, split_uniforms
from sepcon.views.sampler import PAIRS, Views

# A patch 30 dB below the loudest one found in the clip counts as silence.
_SILENT_SHARE = 1e-3


@dataclass(frozen=True)
class FormerSampler:
    """See `ViewSampler`."""

    pairs: tuple[str, ...] = ("mixture-channel",)
    patch_seconds: float = 2.0
    temporal_proximity: bool = True
    min_relative_energy: float = 1e-3
    position_candidates: int = 1
    sample_rate_hz: int = SAMPLE_RATE_HZ

    @property
    def patch_samples(self) -> int:
        return round(self.patch_seconds * self.sample_rate_hz)

    @property
    def num_uniforms(self) -> int:
        """The same for all kinds of pairs: runs that differ in `pairs` only draw alike."""
        return sum(self._widths)

    @property
    def _widths(self) -> list[int]:
        place = self.position_candidates + (self.position_candidates > 1)
        return [1, place, place, 1, 1]

    def __call__(
        self, *, mixture: tf.Tensor, channels: tf.Tensor | None, uniforms: tf.Tensor
    ) -> Views:
        """Cuts the two patches of each clip.

        Args:
          mixture: [batch, samples] int16 or float32.
          channels: [batch, channel, samples] of the same type, or None if no pair needs any.
          uniforms: [batch, num_uniforms] float32 in [0, 1).

        Returns:
          the pair of patches, of the type of the mixture.

        Raises:
          ValueError: channels are needed and missing, or a clip is shorter than a patch.
        """
        kind, at_anchor, at_positive, of_anchor, of_positive = split_uniforms(
            uniforms, self._widths
        )
        pair = uniform_index(kind[:, 0], len(self.pairs))
        anchor_is_channel, positive_is_channel = (
            tf.gather([PAIRS[name][side] for name in self.pairs], pair) for side in (0, 1)
        )  # [batch] bool each
        anchor_start = self._place(mixture, at_anchor)
        positive_start = anchor_start
        if self.temporal_proximity:
            positive_start = self._place(mixture, at_positive)

        anchor = crop(mixture, anchor_start, self.patch_samples)
        positive = crop(mixture, positive_start, self.patch_samples)
        taken = tf.zeros_like(pair) - 1  # the anchor's channel, none so far
        if channels is not None and any(PAIRS[name][0] for name in self.pairs):
            patch, drawn = self._channel(channels, anchor_start, of_anchor[:, 0], taken)
            anchor = tf.where(anchor_is_channel[:, tf.newaxis], patch, anchor)
            taken = tf.where(anchor_is_channel, drawn, taken)
        if channels is not None and any(PAIRS[name][1] for name in self.pairs):
            patch, _ = self._channel(channels, positive_start, of_positive[:, 0], taken)
            positive = tf.where(positive_is_channel[:, tf.newaxis], patch, positive)
        return Views(anchor, positive)

    def _place(self, mixture: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Draws where the patch of each example begins, [batch] int32."""
        room = tf.shape(mixture)[-1] - self.patch_samples + 1
        starts = uniform_index(uniforms[:, : self.position_candidates], room)  # [batch, candidates]
        if self.position_candidates == 1:
            return starts[:, 0]
        energies = tf.stack(
            [
                _energy(crop(mixture, start, self.patch_samples))
                for start in tf.unstack(starts, axis=-1)
            ],
            axis=-1,
        )  # [batch, candidates]
        audible = _audible(energies, _SILENT_SHARE)
        return tf.gather(starts, _draw(audible, uniforms[:, -1]), batch_dims=1)

    def _channel(
        self, channels: tf.Tensor, start: tf.Tensor, uniform: tf.Tensor, taken: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws a channel audible in its patch, if possible not the one that is taken.

        Returns:
          its patch [batch, patch samples] and its index [batch] int32.
        """
        patches = crop(channels, start, self.patch_samples)  # [batch, channel, patch samples]
        audible = _audible(_energy(patches), self.min_relative_energy)  # [batch, channel]
        others = audible & (tf.range(tf.shape(patches)[1]) != taken[:, tf.newaxis])
        any_other = tf.reduce_any(others, axis=-1, keepdims=True)
        index = _draw(tf.where(any_other, others, audible), uniform)
        return tf.gather(patches, index, batch_dims=1), index


def uniform_index(uniform: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Carries uniforms in [0, 1) to 0 .. count - 1, int32."""
    scaled = tf.cast(uniform * tf.cast(count, tf.float32), tf.int32)
    return tf.minimum(scaled, count - 1)  # the product may round up to count


def _energy(audio: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(tf.cast(audio, tf.float32)), axis=-1)


def _audible(energy: tf.Tensor, share: float) -> tf.Tensor:
    """Tells which energies reach `share` of the largest in their row; the largest always does."""
    return energy >= share * tf.reduce_max(energy, axis=-1, keepdims=True)


def _draw(allowed: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Draws one of the allowed columns of each row, each as likely as the others.

    Args:
      allowed: [batch, columns] bool, at least one true in each row.
      uniform: [batch] float32 in [0, 1).

    Returns:
      [batch] int32 column.
    """
    rank = tf.cumsum(tf.cast(allowed, tf.int32), axis=-1)  # 1 for the first allowed, and so on
    wanted = uniform_index(uniform, rank[:, -1]) + 1
    chosen = allowed & (rank == wanted[:, tf.newaxis])
    return tf.argmax(tf.cast(chosen, tf.int32), axis=-1, output_type=tf.int32)
