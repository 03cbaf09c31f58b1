"""Views: from a clip and its separated channels to pairs of patches that belong together.

To change what a pair is, change `PAIRS` and `ViewSampler`; tests/views/sampler_test.py holds the
same rules written as loops over single examples, and tells whether the two still agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.stored.frames import HOP_SAMPLES
from sepcon.views.augment import split_uniforms
from sepcon.views.whole_clips import WholeClips

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


class ViewPlan(NamedTuple):
    """Which two patches of each clip are taken, [batch] whole numbers in float32 each.

    Attributes:
      anchor_row: 0 for the mixture, 1 + c for channel c.
      anchor_start: the frame of the clip that the patch begins with.
      positive_row: the same of the positive.
      positive_start: the same.
    """

    anchor_row: tf.Tensor
    anchor_start: tf.Tensor
    positive_row: tf.Tensor
    positive_start: tf.Tensor


class PatchEnergies(Protocol):
    """Tells the energies of patches; asked for no more than a choice depends on."""

    def of_mixture(self, starts: tf.Tensor) -> tf.Tensor:
        """Those of patches of the mixture.

        Args:
          starts: [batch, n] float32 of whole numbers, the frames that they begin with.

        Returns:
          [batch, n] float.
        """

    def of_channels(self, start: tf.Tensor) -> tf.Tensor:
        """Those of all channels in one place.

        Args:
          start: [batch] float32 of whole numbers, the frame that the patches begin with.

        Returns:
          [batch, channel] float.
        """


@dataclass(frozen=True)
class ViewSampler:
    """Draws a pair of patches from each clip.

    What is drawn depends on the energies of patches and not on their samples: of clips and channels
    that are stored with the energies of their frames, the drawn patches alone are read. `plan`
    decides for them as for clips that are there as a whole.

    In this order, each step uniformly:

    1. the kind of pair, one of `pairs`;
    2. where each patch lies: at a multiple of `hop_samples`. `position_candidates` places are
       drawn; one is taken among those where the mixture has at least 1/1000 of the energy that it
       has at the loudest of them. More than one candidate helps with clips that are partly silent.
       The channels have no say in it: all kinds of pairs see the same places;
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
      hop_samples: patches begin at multiples of it. The energy of a patch is that of the whole
        frames of so many samples in it. Stored energies are of 400.
    """

    pairs: tuple[str, ...] = ("mixture-channel",)
    patch_seconds: float = 2.0
    temporal_proximity: bool = True
    min_relative_energy: float = 1e-3
    position_candidates: int = 1
    sample_rate_hz: int = SAMPLE_RATE_HZ
    hop_samples: int = HOP_SAMPLES

    def __post_init__(self) -> None:
        unknown = [pair for pair in self.pairs if pair not in PAIRS]
        if unknown or not self.pairs:
            raise ValueError(f"pairs must be some of {sorted(PAIRS)}, got {self.pairs}")
        if not 1 <= self.hop_samples <= self.patch_samples:
            raise ValueError(
                f"patch_seconds={self.patch_seconds} is {self.patch_samples} samples, expected "
                f"hop_samples={self.hop_samples} or more, and these 1 or more"
            )
        if not 0 <= self.min_relative_energy <= 1:
            raise ValueError(f"min_relative_energy={self.min_relative_energy} is not in [0, 1]")
        if self.position_candidates < 1:
            raise ValueError(f"position_candidates={self.position_candidates} is less than 1")

    @property
    def patch_samples(self) -> int:
        return round(self.patch_seconds * self.sample_rate_hz)

    @property
    def patch_frames(self) -> int:
        """Whole frames of a patch, by which its energy is measured."""
        return self.patch_samples // self.hop_samples

    def num_places(self, samples: int | tf.Tensor) -> int | tf.Tensor:
        """Returns the number of places where a patch can begin in a clip.

        Args:
          samples: of the clip, or integer [...] of many.
        """
        return (samples - self.patch_samples) // self.hop_samples + 1

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
        clips = WholeClips(mixture, channels, self.patch_samples, self.hop_samples)
        places = self.num_places(tf.shape(mixture)[-1])
        plan = self.plan(energies=clips, num_places=places, uniforms=uniforms)
        return Views(
            clips.cut(plan.anchor_row, plan.anchor_start),
            clips.cut(plan.positive_row, plan.positive_start),
        )

    def plan(
        self, *, energies: PatchEnergies, num_places: int | tf.Tensor, uniforms: tf.Tensor
    ) -> ViewPlan:
        """Decides which two patches are taken of each clip.

        Args:
          energies: of the clips; those of channels are asked for if a pair needs channels.
          num_places: where a patch can begin, see `num_places`.
          uniforms: [batch, num_uniforms] float32 in [0, 1).
        """
        kind, at_anchor, at_positive, of_anchor, of_positive = split_uniforms(
            uniforms, self._widths
        )
        pair = uniform_index(kind[:, 0], len(self.pairs))
        anchor_is_channel, positive_is_channel = (
            tf.gather([PAIRS[name][side] for name in self.pairs], pair) for side in (0, 1)
        )  # [batch] bool each
        anchor_start = self._place(energies, num_places, at_anchor)
        positive_start = anchor_start
        if self.temporal_proximity:
            positive_start = self._place(energies, num_places, at_positive)
        # Whole numbers in float32: accelerators do not compare int32.
        anchor_row = positive_row = tf.zeros(tf.shape(pair))
        if any(PAIRS[name][0] for name in self.pairs):
            drawn = self._channel(energies, anchor_start, of_anchor[:, 0], anchor_row)
            anchor_row = tf.where(anchor_is_channel, drawn, anchor_row)
        if any(PAIRS[name][1] for name in self.pairs):
            drawn = self._channel(energies, positive_start, of_positive[:, 0], anchor_row)
            positive_row = tf.where(positive_is_channel, drawn, positive_row)
        return ViewPlan(anchor_row, anchor_start, positive_row, positive_start)

    def _check(self, mixture: tf.Tensor, channels: tf.Tensor | None) -> None:
        if channels is None and self.needs_channels:
            raise ValueError(f"pairs={self.pairs} need channels, got None")
        samples = mixture.shape[-1]
        if samples is not None and samples < self.patch_samples:
            raise ValueError(
                f"clips of {samples} samples are shorter than a patch of "
                f"patch_seconds={self.patch_seconds} = {self.patch_samples} samples"
            )

    def _place(
        self, energies: PatchEnergies, num_places: int | tf.Tensor, uniforms: tf.Tensor
    ) -> tf.Tensor:
        """Draws the frame that the patch of each example begins with, [batch] float32."""
        starts = uniform_index(uniforms[:, : self.position_candidates], num_places)
        starts = tf.cast(starts, tf.float32)  # [batch, candidates]
        if self.position_candidates == 1:
            return starts[:, 0]
        audible = _audible(energies.of_mixture(starts), _SILENT_SHARE)  # [batch, candidates]
        return tf.gather(starts, _draw(audible, uniforms[:, -1]), batch_dims=1)

    def _channel(
        self, energies: PatchEnergies, start: tf.Tensor, uniform: tf.Tensor, taken: tf.Tensor
    ) -> tf.Tensor:
        """Draws the row of a channel audible in its patch, if possible not the one taken.

        Args:
          energies: of the clips.
          start: [batch] float32, where the patch begins.
          uniform: [batch] float32 in [0, 1).
          taken: [batch] float32, the row of the other patch; 0 where that is no channel.

        Returns:
          [batch] float32 row, 1 for the first channel.
        """
        of_patch = energies.of_channels(start)  # [batch, channel]
        audible = _audible(of_patch, self.min_relative_energy)
        rows = 1.0 + tf.range(tf.cast(tf.shape(of_patch)[1], tf.float32))
        others = audible & (rows != taken[:, tf.newaxis])
        any_other = tf.reduce_any(others, axis=-1, keepdims=True)
        drawn = _draw(tf.where(any_other, others, audible), uniform)
        return 1.0 + tf.cast(drawn, tf.float32)


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
    # Of floats: there is no kernel for integers on a GPU.
    return tf.argmax(tf.cast(chosen, tf.float32), axis=-1, output_type=tf.int32)
