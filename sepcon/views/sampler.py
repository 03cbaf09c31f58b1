"""Views: from a clip and its separated channels to pairs of patches that belong together.

To change what a pair is, change `PAIRS` and `ViewSampler`; tests/views/sampler_test.py holds the
same rules written as loops over single examples, and tells whether the two still agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.views.augment import crop, movable, split_uniforms

# Which of anchor and positive is a separated channel. What is not one is the mixture.
PAIRS: dict[str, tuple[bool, bool]] = {
    "mixture-mixture": (False, False),
    "mixture-channel": (False, True),
    "channel-channel": (True, True),
}
# A patch 30 dB below the loudest one found in the clip counts as silence.
_SILENT_SHARE = 1e-3


class Views(NamedTuple):
    """Two patches of each clip, each [batch, patch samples], int16 or float32 as the clips are."""

    anchor: tf.Tensor
    positive: tf.Tensor


@dataclass(frozen=True)
class ViewSampler:
    """Draws a pair of patches from each clip.

    In this order, each step uniformly:

    1. the kind of pair, one of `pairs`;
    2. where each patch lies. `position_candidates` places are drawn; one is taken among those
       where the mixture has at least 1/1000 of the energy that it has at the loudest of them.
       More than one candidate helps with clips that are partly silent. The channels have no say
       in it: all kinds of pairs see the same places;
    3. which channel, for a patch of a channel: one of those whose energy inside the patch is at
       least `min_relative_energy` of the loudest channel's there. A silent channel is thus never
       drawn beside an audible one. The positive of a channel-channel pair is another channel than
       the anchor; only when no other is audible in its place may it be the same.

    What is digital silence from end to end stays silence: a log-mel patch at the floor, equal to
    every other silent patch. Such clips are left out when a dataset is made, not here.

    Attributes:
      pairs: kinds of pairs, keys of `PAIRS`. Naming one twice doubles its share.
      patch_seconds: length of a patch.
      temporal_proximity: whether the two patches lie anywhere in the clip, independently of one
        another; if not, both lie in the same place.
      min_relative_energy: see above, in [0, 1]; 0 draws among all channels. The default, 30 dB
        below the loudest, keeps silence out and weak sources in; a stricter 0.1 was worth less on
        the validation scenes of ESC-50.
      position_candidates: see above, at least 1.
      sample_rate_hz: samples per second of the clips.
    """

    pairs: tuple[str, ...] = ("mixture-channel",)
    patch_seconds: float = 2.0
    temporal_proximity: bool = True
    min_relative_energy: float = 1e-3
    position_candidates: int = 1
    sample_rate_hz: int = SAMPLE_RATE_HZ

    def __post_init__(self) -> None:
        unknown = [pair for pair in self.pairs if pair not in PAIRS]
        if unknown or not self.pairs:
            raise ValueError(f"pairs must be some of {sorted(PAIRS)}, got {self.pairs}")
        if self.patch_samples < 1:
            raise ValueError(f"patch_seconds={self.patch_seconds} is less than a sample")
        if not 0 <= self.min_relative_energy <= 1:
            raise ValueError(f"min_relative_energy={self.min_relative_energy} is not in [0, 1]")
        if self.position_candidates < 1:
            raise ValueError(f"position_candidates={self.position_candidates} is less than 1")

    @property
    def patch_samples(self) -> int:
        return round(self.patch_seconds * self.sample_rate_hz)

    @property
    def needs_channels(self) -> bool:
        """Whether any kind of pair takes separated channels."""
        return any(any(PAIRS[pair]) for pair in self.pairs)

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
        self._check(mixture, channels)
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
        taken = tf.fill(tf.shape(pair), -1.0)  # the anchor's channel, none so far
        if channels is not None and any(PAIRS[name][0] for name in self.pairs):
            patch, drawn = self._channel(channels, anchor_start, of_anchor[:, 0], taken)
            anchor = tf.where(anchor_is_channel[:, tf.newaxis], patch, anchor)
            taken = tf.where(anchor_is_channel, tf.cast(drawn, tf.float32), taken)
        if channels is not None and any(PAIRS[name][1] for name in self.pairs):
            patch, _ = self._channel(channels, positive_start, of_positive[:, 0], taken)
            positive = tf.where(positive_is_channel[:, tf.newaxis], patch, positive)
        return Views(anchor, positive)

    def _check(self, mixture: tf.Tensor, channels: tf.Tensor | None) -> None:
        if channels is None and self.needs_channels:
            raise ValueError(f"pairs={self.pairs} need channels, got None")
        samples = mixture.shape[-1]
        if samples is not None and samples < self.patch_samples:
            raise ValueError(
                f"clips of {samples} samples are shorter than a patch of "
                f"patch_seconds={self.patch_seconds} = {self.patch_samples} samples"
            )

    def _place(self, mixture: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Draws where the patch of each example begins, [batch] float32 of whole numbers."""
        room = tf.shape(mixture)[-1] - self.patch_samples + 1
        starts = uniform_index(uniforms[:, : self.position_candidates], room)
        starts = tf.cast(starts, tf.float32)  # [batch, candidates]
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
        number = tf.range(tf.cast(tf.shape(patches)[1], tf.float32))
        others = audible & (number != taken[:, tf.newaxis])
        any_other = tf.reduce_any(others, axis=-1, keepdims=True)
        index = _draw(tf.where(any_other, others, audible), uniform)
        patch = tf.gather(movable(patches), index, batch_dims=1)
        return tf.bitcast(patch, patches.dtype), index


def uniform_index(uniform: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Turns random numbers into random indices.

    Args:
      uniform: [...] float32 in [0, 1).
      count: number of indices, [] or broadcast against `uniform`.

    Returns:
      [...] int32, from 0 to count - 1.
    """
    count = tf.cast(count, tf.float32)
    # The product may round up to count. (In float32: accelerators do not compare int32.)
    return tf.cast(tf.minimum(tf.floor(uniform * count), count - 1), tf.int32)


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
    # Whole numbers in float32: accelerators do not compare int32.
    rank = tf.cumsum(tf.cast(allowed, tf.float32), axis=-1)  # 1 for the first allowed, and so on
    wanted = tf.cast(uniform_index(uniform, rank[:, -1]), tf.float32) + 1
    chosen = allowed & (rank == wanted[:, tf.newaxis])
    return tf.argmax(tf.cast(chosen, tf.float32), axis=-1, output_type=tf.int32)
