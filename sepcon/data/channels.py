"""Separated channels on disk, written once per separator state: drawn from while pretraining."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from sepcon.data.channel_shards import ChannelIndex, channel_layout, read_index, shard_path
from sepcon.data.clips import ClipDataset
from sepcon.data.records import RecordFiles
from sepcon.data.stored.samples import StoredSamples
from sepcon.errors import SepconError
from sepcon.runs.seals import check_seals

_CURE = "delete it and run.json beside it, and the same `sepcon separate` writes it again"


@dataclasses.dataclass(frozen=True)
class StoredChannels:
    """Channels of the same clips from one or several separator states.

    Attributes:
      folders: one per state.
      index: what the first one says; the others agree but for checkpoint and step.
      files: the records of each state.
    """

    folders: tuple[str, ...]
    index: ChannelIndex
    files: tuple[RecordFiles, ...]

    @property
    def num_channels(self) -> int:
        """Channels per clip."""
        return self.index.num_channels

    @functools.cached_property
    def samples(self) -> tuple[StoredSamples, ...]:
        """The channels of each state for reading by place; at first use they are measured for it.

        Raises:
          SepconError: a shard is damaged.
        """
        layout = channel_layout(self.num_channels)
        return tuple(StoredSamples(files.paths, layout, cure=_CURE) for files in self.files)

    def check_clips(self, clips: ClipDataset) -> None:
        """Checks that these are the channels of a data set.

        Args:
          clips: the data set.

        Raises:
          SepconError: they are of another data set, of other files, or of another number of clips.
        """
        digest = clips.digest.partition(".")[0]
        if self.index.clips_digest and digest not in ("", self.index.clips_digest):
            raise SepconError(
                f"{self.folders[0]}: holds channels of other files than those of {clips.name}: "
                "their names or sizes differ; separate those"
            )
        found = (self.index.clips, self.index.num_clips)
        # By name too: the names of sound scenes tell their recipe, their ids do not.
        if found != (clips.name, clips.num_clips):
            raise SepconError(
                f"{self.folders[0]}: holds channels of {found[1]} clips ({found[0]}), but "
                f"{clips.name} has {clips.num_clips}; separate that one"
            )

    def read(self, position: tf.Tensor, identifier: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Reads the channels of a clip from one state; works inside tf.data.

        Args:
          position: int64 [], the clip's number.
          identifier: string [], its id, which must be the one stored there.
          uniform: float32 [] in [0, 1), draws the state.

        Returns:
          int16 [channel, samples].
        """
        channels = tf.numpy_function(
            self._fetch, [position, identifier, uniform], tf.int16, stateful=False
        )
        return tf.ensure_shape(channels, [self.num_channels, None])

    def _fetch(self, position: np.ndarray, identifier: bytes, uniform: np.ndarray) -> np.ndarray:
        state = int(self.states(uniform))
        record = tf.train.Example.FromString(self.files[state].bytes_at(int(position)))
        stored = record.features.feature["id"].bytes_list.value[0]
        self.check_id(state, int(position), stored, identifier)
        samples = np.frombuffer(record.features.feature["channels"].bytes_list.value[0], np.int16)
        return samples.reshape(self.num_channels, -1)

    def states(self, uniform: np.ndarray) -> np.ndarray:
        """Draws states.

        Args:
          uniform: float [...] in [0, 1).

        Returns:
          int64 [...], numbers of the states, from 0.
        """
        drawn = (np.asarray(uniform, np.float64) * len(self.files)).astype(np.int64)
        return np.minimum(drawn, len(self.files) - 1)

    def check_id(self, state: int, position: int, stored: bytes, expected: bytes) -> None:
        """Checks that what is stored of a clip is of this very clip.

        Args:
          state: number of the state.
          position: number of the clip.
          stored: the id that stands beside its channels.
          expected: the id of the clip.

        Raises:
          SepconError: they differ.
        """
        if stored != expected:
            raise SepconError(
                f"{self.folders[state]}: clip {position} is {os.fsdecode(stored)}, expected "
                f"{os.fsdecode(expected)}; these are channels of other clips, separate these"
            )


def stored_channels(*, paths: Sequence[str]) -> StoredChannels:
    """Opens the channels of one or several separator states.

    Args:
      paths: folders written by `sepcon separate`, of the same clips.

    Returns:
      The channels, ready to be read at any position.

    Raises:
      SepconError: if a folder is missing, unfinished or damaged, or they do not fit together.
    """
    if not paths:
        raise SepconError("stored_channels: paths is empty; give at least one folder")
    indices = [read_index(path) for path in paths]
    for path, index in zip(paths, indices, strict=True):
        if index.num_done != index.num_clips:
            raise SepconError(
                f"{path}: is unfinished, {index.num_done} of {index.num_clips} clips are there; "
                "start the same `sepcon separate` again, it continues"
            )
        for field in ("clips", "num_clips", "num_channels", "sample_rate_hz", "clips_digest"):
            mine, first = getattr(index, field), getattr(indices[0], field)
            if mine != first:
                raise SepconError(
                    f"{path}: has {field} {mine}, but {paths[0]} has {first}; give channels of "
                    "the same clips"
                )
    files = [_open_shards(path, index) for path, index in zip(paths, indices, strict=True)]
    for path in paths:
        check_seals(Path(path), cure="delete the folder and separate again")
    return StoredChannels(tuple(str(path) for path in paths), indices[0], tuple(files))


def _open_shards(folder: str, index: ChannelIndex) -> RecordFiles:
    files = RecordFiles(
        [shard_path(folder, number) for number in range(len(index.shards))],
        cure=_CURE,
    )
    for path, found, expected in zip(files.paths, files.counts, index.shards, strict=True):
        if found != expected:
            raise SepconError(
                f"{path}: holds {found} clips, expected {expected}; delete the folder and "
                "separate again"
            )
    return files
