"""Separated channels on disk: written once per separator state, drawn from while pretraining.

A folder holds TFRecord shards in the order of the clips and an `index.json`. Samples are int16 on
the scale of the clips: what is louder than full scale is held at the rails, never wrapped, and a
quiet channel keeps the step of 1/32768 it would have in the clip itself.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.data.clips import ClipDataset
from sepcon.data.records import RecordFiles
from sepcon.data.samples import SAMPLE_RATE_HZ, to_int16
from sepcon.errors import SepconError

INDEX = "index.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class ChannelIndex:
    """What a folder of channels says of itself, in `index.json`.

    Attributes:
      clips: name of the data set that was separated.
      num_clips: clips in it.
      num_channels: channels of each.
      checkpoint: run folder of the separator.
      step: its training step.
      shard_clips: clips per shard; the last may hold fewer.
      shards: clips in each finished shard.
      sample_rate_hz: of the channels.
      format: version of this layout.
    """

    clips: str
    num_clips: int
    num_channels: int
    checkpoint: str
    step: int
    shard_clips: int
    shards: tuple[int, ...] = ()
    sample_rate_hz: int = SAMPLE_RATE_HZ
    format: int = _FORMAT

    @property
    def num_done(self) -> int:
        """Clips in finished shards."""
        return sum(self.shards)


def shard_path(folder: str | Path, number: int) -> Path:
    """Path of a shard."""
    return Path(folder) / f"channels-{number:05d}.tfrecord"


def read_index(folder: str | Path) -> ChannelIndex:
    """Reads `index.json`.

    Raises:
      SepconError: if it is missing or is not one.
    """
    path = Path(folder) / INDEX
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        index = ChannelIndex(**(values | {"shards": tuple(values["shards"])}))
    except FileNotFoundError:
        raise SepconError(
            f"{path}: no such file; write the channels with `sepcon separate` first"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SepconError(
            f"{path}: is not an index of stored channels ({error}); write them again"
        ) from error
    if index.format != _FORMAT:
        raise SepconError(f"{path}: has format {index.format}, expected {_FORMAT}; write it again")
    return index


class ChannelWriter:
    """Writes the channels of a data set, shard by shard; continues where it was killed.

    A shard is written under another name and renamed when it is complete, then it is entered in
    the index: what the index names is whole.

        with ChannelWriter(folder, clips=clips, num_channels=4, checkpoint=run, step=300) as writer:
            for clip in clips.build().skip(writer.num_done):
                writer.write(clip["id"], separate(clip))

    Args:
      folder: where to; made if need be.
      clips: the data set that is separated.
      num_channels: channels per clip.
      checkpoint: run folder of the separator, for the record.
      step: its training step.
      shard_clips: clips per shard; a kill loses at most this many.

    Raises:
      SepconError: if the folder holds channels of something else or cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        clips: ClipDataset,
        num_channels: int,
        checkpoint: str,
        step: int,
        shard_clips: int = 256,
    ) -> None:
        self._folder = Path(folder)
        self._pending: list[bytes] = []
        self._index = ChannelIndex(
            clips=clips.name,
            num_clips=clips.num_clips,
            num_channels=num_channels,
            checkpoint=checkpoint,
            step=step,
            shard_clips=shard_clips,
        )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if (self._folder / INDEX).exists():
                self._index = self._continued(read_index(self._folder))
            else:
                self._write_index()
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    @property
    def num_done(self) -> int:
        """Clips in finished shards: the first one to write next."""
        return self._index.num_done

    @property
    def finished(self) -> bool:
        """Whether every clip is written."""
        return self.num_done == self._index.num_clips

    def write(self, identifier: str | bytes | tf.Tensor, channels: np.ndarray) -> None:
        """Adds the channels of the next clip.

        Args:
          identifier: id of the clip.
          channels: [channel, samples], float (1.0 is full scale) or int16.

        Raises:
          SepconError: if a sample is not a number, or the disk is full.
        """
        channels = np.asarray(channels)
        if channels.ndim != 2 or channels.shape[0] != self._index.num_channels:
            raise ValueError(
                f"channels: got shape {channels.shape}, expected "
                f"[{self._index.num_channels}, samples]"
            )
        identifier = identifier.numpy() if isinstance(identifier, tf.Tensor) else identifier
        name = identifier.encode() if isinstance(identifier, str) else identifier
        if channels.dtype != np.int16:
            if not np.isfinite(channels).all():
                raise SepconError(
                    f"{self._folder}: the channels of clip {name.decode()} are not finite; the "
                    "separator has diverged, take an earlier state"
                )
            channels = to_int16(channels)
        if self.num_done + len(self._pending) >= self._index.num_clips:
            raise ValueError(f"write: got more than {self._index.num_clips} clips")
        self._pending.append(_serialize(name, channels))
        written = self.num_done + len(self._pending)
        if len(self._pending) == self._index.shard_clips or written == self._index.num_clips:
            self._finish_shard()

    def __enter__(self) -> ChannelWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A half-full shard is not kept: the next start writes it again from its beginning.
        self._pending.clear()

    def _continued(self, found: ChannelIndex) -> ChannelIndex:
        wanted = dataclasses.replace(
            self._index, shards=found.shards, shard_clips=found.shard_clips
        )
        for field in dataclasses.fields(ChannelIndex):
            old, new = getattr(found, field.name), getattr(wanted, field.name)
            if old != new:
                raise SepconError(
                    f"{self._folder}: holds channels with {field.name} {old}, asked for {new}; "
                    "choose another folder or delete this one"
                )
        for leftover in self._folder.glob(".channels-*"):  # of a writer that was killed
            leftover.unlink(missing_ok=True)
        return wanted

    def _finish_shard(self) -> None:
        path = shard_path(self._folder, len(self._index.shards))
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for record in self._pending:
                    writer.write(record)
            _sync(temporary)
            temporary.replace(path)
            self._index = dataclasses.replace(
                self._index, shards=(*self._index.shards, len(self._pending))
            )
            self._write_index()
        except (OSError, tf.errors.OpError) as error:
            temporary.unlink(missing_ok=True)
            raise _unwritable(self._folder, error) from error
        self._pending.clear()

    def _write_index(self) -> None:
        temporary = self._folder / f".{INDEX}.{os.getpid()}"
        temporary.write_text(json.dumps(dataclasses.asdict(self._index), indent=1) + "\n")
        _sync(temporary)
        temporary.replace(self._folder / INDEX)


def _unwritable(folder: Path, error: Exception) -> SepconError:
    reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
    return SepconError(
        f"{folder}: channels cannot be written ({reason}); make room or choose another folder"
    )


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _serialize(identifier: bytes, channels: np.ndarray) -> bytes:
    def feature(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {"id": feature(identifier), "channels": feature(channels.tobytes())}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


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

    def check_clips(self, clips: ClipDataset) -> None:
        """Raises a SepconError unless these are channels of this very data set."""
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
        state = min(int(float(uniform) * len(self.files)), len(self.files) - 1)
        record = tf.train.Example.FromString(self.files[state].bytes_at(int(position)))
        stored = record.features.feature["id"].bytes_list.value[0]
        if stored != identifier:
            raise SepconError(
                f"{self.folders[state]}: clip {int(position)} is {stored.decode()}, expected "
                f"{identifier.decode()}; these are channels of other clips, separate these"
            )
        samples = np.frombuffer(record.features.feature["channels"].bytes_list.value[0], np.int16)
        return samples.reshape(self.num_channels, -1)


def stored_channels(*, paths: Sequence[str]) -> StoredChannels:
    """Opens the channels of one or several separator states.

    Args:
      paths: folders written by `sepcon separate`, of the same clips.

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
        for field in ("clips", "num_clips", "num_channels", "sample_rate_hz"):
            mine, first = getattr(index, field), getattr(indices[0], field)
            if mine != first:
                raise SepconError(
                    f"{path}: has {field} {mine}, but {paths[0]} has {first}; give channels of "
                    "the same clips"
                )
    files = [_open_shards(path, index) for path, index in zip(paths, indices, strict=True)]
    return StoredChannels(tuple(str(path) for path in paths), indices[0], tuple(files))


def _open_shards(folder: str, index: ChannelIndex) -> RecordFiles:
    files = RecordFiles([shard_path(folder, number) for number in range(len(index.shards))])
    for path, found, expected in zip(files.paths, files.counts, index.shards, strict=True):
        if found != expected:
            raise SepconError(
                f"{path}: holds {found} clips, expected {expected}; delete the folder and "
                "separate again"
            )
    return files
