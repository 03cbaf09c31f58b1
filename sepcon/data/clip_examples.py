"""Clips as the examples of a training stream, with separated channels or known sources."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from sepcon.data.channels import StoredChannels, stored_channels
from sepcon.data.clips import ClipDataset, ReadClip, fit_length, reader
from sepcon.data.examples import Example, ReadExample
from sepcon.errors import SepconError


@dataclasses.dataclass(frozen=True)
class ClipExamples:
    """Clips, all brought to one length; see `Examples`.

    An example holds `id` string [], `audio` int16 [clip_samples], `labels` float32 [classes],
    `state_uniform` float32 [] in [0, 1) (draws one of several separator states, stored or on the
    fly), `channels` int16 [channel, clip_samples] where there are any, and `sources` int16 [source,
    clip_samples], rows of zeros for absent ones, if asked for.

    Attributes:
      clips: where examples come from.
      clip_seconds: every clip is zero-padded to this, or cropped to it at a random place; None for
        the length that all of them have.
      channels: folders of stored channels of the same clips (`sepcon separate`), one for each
        separator state, of which one is drawn for each example.
      channels_dir: where those folders are, unless their paths are whole.
      with_sources: whether the known sources of the clips come with them.
      hop_samples: clips are cropped at multiples of it; see `crop_start`.
    """

    clips: ClipDataset
    clip_seconds: float | None = None
    channels: Sequence[str] = ()
    channels_dir: str = ""
    with_sources: bool = False
    hop_samples: int = 1

    @property
    def name(self) -> str:
        if self.hop_samples == 1:
            return self.clips.name
        return f"{self.clips.name}, cut at multiples of {self.hop_samples} samples"

    @property
    def earlier_name(self) -> str:
        """What earlier versions called the clips, however they were cut."""
        return self.clips.name

    @property
    def digest(self) -> str:
        return self.clips.digest

    @property
    def num_examples(self) -> int:
        return self.clips.num_clips

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.clips.class_names

    @property
    def num_uniforms(self) -> int:
        """Two: where to crop, and which stored state to read."""
        return 2

    @property
    def clip_samples(self) -> int:
        """Samples that are read of each clip.

        Raises:
          SepconError: clips differ in length and nothing says what to read.
        """
        samples = self.clips.clip_samples
        if self.clip_seconds is not None:
            samples = round(self.clip_seconds * self.clips.sample_rate_hz)
            if samples < 1:
                raise ValueError(f"clip_seconds: got {self.clip_seconds}, expected above 0")
        if samples is None:
            raise SepconError(
                f"{self.name}: clips differ in length; bind clip_seconds to what shall be read of "
                "each"
            )
        return samples

    @functools.cached_property
    def stored_channels(self) -> StoredChannels | None:
        """The stored channels, opened when they are first asked for."""
        if not self.channels:
            return None
        parent = Path(self.channels_dir).expanduser()
        stored = stored_channels(paths=[str(parent / name) for name in self.channels])
        stored.check_clips(self.clips)
        return stored

    def reader(self) -> ReadExample:
        """See `Examples`."""
        read_clip = self.read_clip()
        samples, stored, hop = self.clip_samples, self.stored_channels, self.hop_samples

        def read(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
            place, state = uniforms[0], uniforms[1]
            clip = read_clip(position)
            example = {
                "id": clip["id"],
                "audio": fit_length(clip["audio"], samples, place, hop_samples=hop),
                "state_uniform": state,
                "labels": clip["labels"],
            }
            if stored is not None:
                channels = stored.read(clip["position"], clip["id"], state)
                example["channels"] = fit_length(channels, samples, place, hop_samples=hop)
            if self.with_sources:
                example["sources"] = fit_length(clip["sources"], samples, place, hop_samples=hop)
            return example

        return read

    def read_clip(self) -> ReadClip:
        """Returns what reads the clip at a position, with the `position` that it is of.

        A clip that can no longer be read does not end a run of days where its data set knows
        another one to take: then a batch is a pure function of what can be read of the clips.
        """
        if self.clips.read_or_next is not None and not self.with_sources:
            return self.clips.read_or_next
        read = reader(self.clips, sources=self.with_sources)
        return lambda position: {**read(position), "position": position}
