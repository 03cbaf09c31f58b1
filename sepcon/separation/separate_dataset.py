"""Separates every clip of a data set into stored channels, here or on a cluster.

A shard depends on its clips and on the separator alone. So shards can be made in any order, by
this process or by the workers of an Apache Beam pipeline, and a stopped job goes on with those that
are missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sepcon.data.channel_shards import ChannelShards, write_channel_shard
from sepcon.data.clips import ClipDataset, subset, to_float
from sepcon.runs.beam import Runner, check_runner, run_pieces
from sepcon.runs.progress import Progress
from sepcon.separation.recording_separator import RecordingSeparator, load_recording_separator

# One separator for all shards that a worker makes.
_loaded_separator = functools.cache(load_recording_separator)


def separate_dataset(
    *,
    folder: str | Path,
    clips: ClipDataset,
    separator: str | Path,
    step: int | None = None,
    batch_size: int = 8,
    shard_clips: int = 256,
    runner: Runner = "local",
    pipeline_options: Sequence[str] = (),
    on_start: Callable[[], object] = lambda: None,
) -> None:
    """Stores the channels of every clip; goes on with the shards that are missing.

    Args:
      folder: receives the shards and their index.
      clips: all of one length.
      separator: run folder of `sepcon train_separator`, or what `sepcon export` made of one.
      step: which state of a run; the last by default.
      batch_size: clips at a time.
      shard_clips: clips in a shard; of a job that goes on, as many as it began with.
      runner: "local", or "beam": then all workers must see `folder`, `separator` and the clips
        under the same paths.
      pipeline_options: of Beam.
      on_start: called when the folder was found to be one of these channels.

    Raises:
      SepconError: no such separator, runner or state; the clips differ in length; the folder holds
        other channels or cannot be written; or the pipeline failed.
    """
    check_runner(runner)
    opened = load_recording_separator(separator, step=step)
    shards = ChannelShards(
        folder,
        clips=clips,
        num_channels=opened.num_sources,
        checkpoint=str(separator),
        step=opened.step,
        shard_clips=shard_clips,
    )
    on_start()
    places = {number: shards.clips_of(number) for number in shards.missing()}
    if runner == "local":
        _separate_here(shards, places, clips, opened, batch_size)
        return
    work = functools.partial(
        _separate_on_worker, Path(folder), places, clips, separator, opened.step, batch_size
    )
    run_pieces(work, places, shared_dir=Path(folder), pipeline_options=pipeline_options)
    shards.note_finished()


def _separate_here(
    shards: ChannelShards,
    places: Mapping[int, range],
    clips: ClipDataset,
    separator: RecordingSeparator,
    batch_size: int,
) -> None:
    done = clips.num_clips - sum(map(len, places.values()))
    with Progress(clips.num_clips, f"separate {clips.name}", unit="clip", initial=done) as progress:
        for number, place in places.items():
            separated = _separated(separator, clips, place, batch_size, progress.advance)
            write_channel_shard(shards.folder, number, separated)
            shards.note_finished()


def _separate_on_worker(
    folder: Path,
    places: Mapping[int, range],
    clips: ClipDataset,
    separator: str | Path,
    step: int,
    batch_size: int,
    number: int,
) -> None:
    opened = _loaded_separator(separator, step=step)
    write_channel_shard(folder, number, _separated(opened, clips, places[number], batch_size))


def _separated(
    separator: RecordingSeparator,
    clips: ClipDataset,
    place: range,
    batch_size: int,
    advance: Callable[[int], object] = lambda clips: None,
) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yields id and channels of each clip at `place`."""
    part = subset(clips, num_clips=len(place), start=place.start)
    for batch in part.build().batch(batch_size):
        channels = separator.separate_batch(to_float(batch["audio"]))
        yield from zip(batch["id"].numpy(), channels, strict=True)
        advance(len(channels))
