"""Writing separated channels: shards that appear whole, and an index of them.

A folder holds TFRecord shards in the order of the clips and an `index.json`. Samples are int16 on
the scale of the clips: what is louder than full scale is clipped and never wraps around, and a
quiet channel has the same resolution of 1/32768 as the clip itself.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ, to_int16
from sepcon.data.clips import ClipDataset
from sepcon.data.example_bytes import serialize_example, write_record
from sepcon.data.stored.envelope_file import (
    RecordLayout,
    envelope_path,
    remove_envelope,
    write_envelope,
)
from sepcon.errors import SepconError
from sepcon.runs.json_file import read_json, told_if_damaged
from sepcon.runs.run_folder import write_text
from sepcon.runs.seals import changed_files, write_seals
from sepcon.runs.whole_file import remove_leftovers, told_if_unwritable, whole_file

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
      clips_digest: of the clips without their labels, see `ClipDataset`; empty where not known.
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
    clips_digest: str = ""

    @property
    def num_done(self) -> int:
        """Clips in finished shards."""
        return sum(self.shards)


def channel_layout(num_channels: int) -> RecordLayout:
    """What the records of a shard hold."""
    return RecordLayout("channels", rows=num_channels)


def shard_path(folder: str | Path, number: int) -> Path:
    """Path of a shard."""
    return Path(folder) / f"channels-{number:05d}.tfrecord"


def read_index(folder: str | Path) -> ChannelIndex:
    """Reads `index.json` of a folder of channels.

    Args:
      folder: written by `sepcon separate`.

    Returns:
      The index.

    Raises:
      SepconError: if it is missing or is not one.
    """
    path = Path(folder) / INDEX
    if not path.is_file():
        raise SepconError(f"{path}: no such file; write the channels with `sepcon separate` first")
    values = read_json(path, cure="write the channels again")
    with told_if_damaged(path, cure="write the channels again"):
        index = ChannelIndex(**(values | {"shards": tuple(map(int, values["shards"]))}))
        if min(index.num_clips, index.num_channels, index.shard_clips) < 1:
            raise ValueError("numbers of clips and channels must be positive")
    if index.format != _FORMAT:
        raise SepconError(f"{path}: has format {index.format}, expected {_FORMAT}; write it again")
    return index


class ChannelShards:
    """The channels of a data set as shards that are written one by one, in any order.

    A shard is written under a scratch name and renamed when it is complete, so that every shard
    that can be seen is whole. The index lists the shards from the first up to the first missing
    one.

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
        self.folder = Path(folder)
        self._index = ChannelIndex(
            clips=clips.name,
            num_clips=clips.num_clips,
            num_channels=num_channels,
            checkpoint=checkpoint,
            step=step,
            shard_clips=shard_clips,
            clips_digest=clips.digest.partition(".")[0],
        )
        with told_if_unwritable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / INDEX).exists():
            self._index = self._continued(read_index(self.folder))
            self._remove_changed()
        self._complete_envelopes()
        self.note_finished()

    @property
    def index(self) -> ChannelIndex:
        return self._index

    @property
    def num_shards(self) -> int:
        return -(-self._index.num_clips // self._index.shard_clips)

    def clips_of(self, number: int) -> range:
        """Numbers of the clips of a shard."""
        start = number * self._index.shard_clips
        return range(start, min(start + self._index.shard_clips, self._index.num_clips))

    def missing(self) -> list[int]:
        """Numbers of the shards that are still to be written."""
        shards = range(self.num_shards)
        return [number for number in shards if not shard_path(self.folder, number).exists()]

    def note_finished(self) -> None:
        """Brings the index up to date with the shards that have been written.

        Raises:
          WriteError: it cannot be written.
        """
        first_missing = next(iter(self.missing()), self.num_shards)
        sizes = tuple(len(self.clips_of(number)) for number in range(first_missing))
        self._index = dataclasses.replace(self._index, shards=sizes)
        content = dataclasses.asdict(self._index)
        if not self._index.clips_digest:
            del content["clips_digest"]
        text = json.dumps(content, indent=1) + "\n"
        write_text(self.folder / INDEX, text)
        if first_missing == self.num_shards:
            shards = [shard_path(self.folder, number).name for number in range(self.num_shards)]
            write_seals(self.folder, [INDEX, *shards])

    def _complete_envelopes(self) -> None:
        """Writes the envelopes of shards behind which a run was killed."""
        layout = channel_layout(self._index.num_channels)
        for path in (shard_path(self.folder, number) for number in range(self.num_shards)):
            if path.exists() and not envelope_path(path).exists():
                write_envelope(path, layout, cure="delete the folder and separate again")

    def _remove_changed(self) -> None:
        """Removes shards that are not what was written before, so that they are written again."""
        changed = changed_files(self.folder, cure="delete the folder and separate again")
        for path in (shard_path(self.folder, number) for number in range(self.num_shards)):
            if path.name in changed:
                path.unlink(missing_ok=True)

    def _continued(self, found: ChannelIndex) -> ChannelIndex:
        wanted = dataclasses.replace(
            self._index, shards=found.shards, shard_clips=found.shard_clips
        )
        for field in dataclasses.fields(ChannelIndex):
            old, new = getattr(found, field.name), getattr(wanted, field.name)
            if field.name == "clips_digest" and not (old and new):
                continue  # One of them does not know it.
            if old != new:
                raise SepconError(
                    f"{self.folder}: holds channels with {field.name} {old}, asked for {new}; "
                    "choose another folder or delete this one"
                )
        remove_leftovers(self.folder)
        return wanted


def write_channel_shard(
    folder: str | Path, number: int, clips: Iterable[tuple[bytes, np.ndarray]]
) -> None:
    """Writes a shard, whole or not at all.

    Args:
      folder: of the channels.
      number: of the shard.
      clips: id and channels of each clip: [channel, samples], float (1.0 is full scale) or int16.

    Raises:
      SepconError: if a sample is not a number, or the disk is full.
    """
    path, num_channels = shard_path(folder, number), 0
    remove_envelope(path)
    with whole_file(path) as scratch, open(scratch, "wb") as records:
        for identifier, channels in clips:
            samples = _checked(folder, identifier, channels).astype("<i2", copy=False)
            features = {"id": identifier, "channels": samples.tobytes()}
            write_record(records, serialize_example(features))
            num_channels = len(samples)
    write_envelope(path, channel_layout(num_channels), cure="start the same command again")


def _checked(folder: str | Path, identifier: bytes, channels: np.ndarray) -> np.ndarray:
    """Returns the channels of a clip as int16."""
    if channels.dtype == np.int16:
        return channels
    if not np.isfinite(channels).all():
        raise SepconError(
            f"{folder}: the channels of clip {os.fsdecode(identifier)} are not finite; the "
            "separator has diverged, take an earlier state"
        )
    return to_int16(channels)


class ChannelWriter:
    """Writes the channels of a data set clip by clip; goes on after the last whole shard.

        with ChannelWriter(folder, clips=clips, num_channels=4, checkpoint=run, step=300) as writer:
            for clip in clips.build().skip(writer.num_done):
                writer.write(clip["id"], separate(clip))

    Args:
      folder: where to; made if need be.
      clips: see `ChannelShards`, as are the other settings.
      settings: the other arguments of `ChannelShards`.

    Raises:
      SepconError: if the folder holds channels of something else or cannot be written.
    """

    def __init__(self, folder: str | Path, *, clips: ClipDataset, **settings: Any) -> None:
        self._shards = ChannelShards(folder, clips=clips, **settings)
        self._pending: list[tuple[bytes, np.ndarray]] = []

    @property
    def num_done(self) -> int:
        """Clips in finished shards, and so the number of the clip to write next."""
        return self._shards.index.num_done

    @property
    def finished(self) -> bool:
        """Whether every clip is written."""
        return self.num_done == self._shards.index.num_clips

    def write(self, identifier: str | bytes | tf.Tensor, channels: np.ndarray) -> None:
        """Adds the channels of the next clip.

        Args:
          identifier: id of the clip.
          channels: [channel, samples], float (1.0 is full scale) or int16.

        Raises:
          SepconError: if a sample is not a number, or the disk is full.
        """
        index, channels = self._shards.index, np.asarray(channels)
        if channels.ndim != 2 or channels.shape[0] != index.num_channels:
            raise ValueError(
                f"channels: got shape {channels.shape}, expected [{index.num_channels}, samples]"
            )
        identifier = identifier.numpy() if isinstance(identifier, tf.Tensor) else identifier
        name = identifier.encode() if isinstance(identifier, str) else identifier
        if self.num_done + len(self._pending) >= index.num_clips:
            raise ValueError(f"write: got more than {index.num_clips} clips")
        self._pending.append((name, _checked(self._shards.folder, name, channels)))
        written = self.num_done + len(self._pending)
        if len(self._pending) == index.shard_clips or written == index.num_clips:
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

    def _finish_shard(self) -> None:
        write_channel_shard(self._shards.folder, len(self._shards.index.shards), self._pending)
        self._shards.note_finished()
        self._pending.clear()
