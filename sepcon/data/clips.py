"""What every provider of recordings returns: a `ClipDataset`, readable in order or at any place.

Providers (`sound_scenes`, `esc50`, `folder`) differ in where clips come from; everything above
them sees only this description.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.audio.samples import FULL_SCALE, SAMPLE_RATE_HZ
from sepcon.data.examples import map_in_order
from sepcon.data.stored.clip_samples import ClipSamples
from sepcon.errors import SepconError

Element = dict[str, tf.Tensor]
ReadClip = Callable[[tf.Tensor], Element]


@dataclasses.dataclass(frozen=True)
class ClipDataset:
    """Clips in a fixed order, one element each.

    Attributes:
      name: what the clips are, for messages and for the index of stored channels.
      num_clips: how many there are.
      sample_rate_hz: of every clip.
      class_names: the classes of the columns of `labels`; empty when nothing is labelled.
      clip_samples: the length of every clip, or None if lengths vary.
      build: returns the clips in order, the same on every call. An element is
        `{'id': string [], 'audio': int16 [samples], 'labels': float32 [classes]}`, labels
        multi-hot, of length 0 when nothing is labelled.
      build_with_sources: the same with `'sources'`: int16 [max_sources, samples], rows of zeros
        for absent ones, whose sum is `audio` to the bit. None where sources are not known.
      read: the element at a position (int64 [], in graph), for reading in any order. None where
        only going through in order is possible; `reader` then keeps the clips in memory.
      read_with_sources: the same with `'sources'`. None where `read` or `build_with_sources` is.
      read_or_next: for training: the element at a position or, where that can no longer be read, at
        the next position that can, with `'position'`: int64 [], the one it is of. None where
        `read` does not fail.
      samples: opens the clips for reading by place, so that a patch costs its own bytes; at first
        use the files are measured for it. None where samples do not lie in records as they are.
      left_out: id -> reason, of clips that belong to the data set and are not here. None where the
        provider cannot tell.
      digest: tells the clips from others of the same name and number, and behind a dot their
        labels; empty where the name does.
    """

    name: str
    num_clips: int
    sample_rate_hz: int
    class_names: tuple[str, ...]
    clip_samples: int | None
    build: Callable[[], tf.data.Dataset]
    build_with_sources: Callable[[], tf.data.Dataset] | None = None
    read: ReadClip | None = None
    read_with_sources: ReadClip | None = None
    read_or_next: ReadClip | None = None
    samples: Callable[[], ClipSamples] | None = None
    left_out: Mapping[str, str] | None = None
    digest: str = ""


def to_float(audio: tf.Tensor) -> tf.Tensor:
    """Converts stored samples to the scale of waveforms that is used everywhere.

    Args:
      audio: [...] int16.

    Returns:
      [...] float32 in [-1, 1).
    """
    return tf.cast(audio, tf.float32) / FULL_SCALE


def crop_start(
    length: tf.Tensor, num_samples: int, uniform: tf.Tensor, *, hop_samples: int = 1
) -> tf.Tensor:
    """Where a clip of some length is cropped to `num_samples`.

    Args:
      length: int [...], of the clips.
      num_samples: what is left of each.
      uniform: float32 [...] in [0, 1), draws the place.
      hop_samples: places are multiples of it.

    Returns:
      The first sample, of the type of `length`; 0 of what is no longer than `num_samples`.
    """
    room = tf.maximum(length - num_samples, 0) // hop_samples
    # Double: a float32 uniform times an hour of samples would leave most places out.
    place = tf.cast(tf.cast(uniform, tf.float64) * tf.cast(room + 1, tf.float64), length.dtype)
    return hop_samples * tf.minimum(place, room)


def fit_length(
    audio: tf.Tensor, num_samples: int, uniform: tf.Tensor, *, hop_samples: int = 1
) -> tf.Tensor:
    """Crops clips to a length at a random place, or pads them with zeros at the end.

    Args:
      audio: [..., samples] of any type.
      num_samples: the wanted length.
      uniform: [] float in [0, 1), the random number that decides where to crop.
      hop_samples: see `crop_start`.

    Returns:
      [..., num_samples] of the same type.
    """
    start = crop_start(tf.shape(audio)[-1], num_samples, uniform, hop_samples=hop_samples)
    cropped = audio[..., start : start + num_samples]
    missing = num_samples - tf.shape(cropped)[-1]
    padding = [[0, 0]] * (audio.shape.rank - 1) + [[0, missing]]
    padded = tf.pad(cropped, padding)
    return tf.ensure_shape(padded, [*audio.shape[:-1], num_samples])


def from_reader(
    *,
    name: str,
    num_clips: int,
    class_names: tuple[str, ...],
    clip_samples: int | None,
    read: ReadClip,
    read_with_sources: ReadClip | None = None,
    read_or_next: ReadClip | None = None,
    samples: Callable[[], ClipSamples] | None = None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    num_parallel_calls: int = 2,
    left_out: Mapping[str, str] | None = None,
    digest: str = "",
) -> ClipDataset:
    """Makes a data set from a function that reads the clip at a position.

    Args:
      name: see `ClipDataset`, as are `num_clips`, `class_names` and `clip_samples`.
      num_clips: number of clips.
      class_names: names of the label columns.
      clip_samples: length of every clip or None.
      read: element at a position.
      read_with_sources: the same with sources.
      read_or_next: see `ClipDataset`, as is `samples`.
      samples: opens the clips for reading by place.
      sample_rate_hz: of every clip.
      num_parallel_calls: clips read at a time; the order stays.
      left_out: clips that should be here and are not, with reasons.
      digest: see `ClipDataset`.
    """

    def in_order(read_one: ReadClip) -> Callable[[], tf.data.Dataset]:
        return lambda: map_in_order(tf.data.Dataset.range(num_clips), read_one, num_parallel_calls)

    return ClipDataset(
        name=name,
        num_clips=num_clips,
        sample_rate_hz=sample_rate_hz,
        class_names=class_names,
        clip_samples=clip_samples,
        build=in_order(read),
        build_with_sources=None if read_with_sources is None else in_order(read_with_sources),
        read=read,
        read_with_sources=read_with_sources,
        read_or_next=read_or_next,
        samples=None if samples is None else _Once(samples),
        left_out=left_out,
        digest=digest,
    )


def reader(clips: ClipDataset, *, sources: bool = False) -> ReadClip:
    """Returns a function that reads the clip at any position, in the graph of tf.data.

    Where the provider can only be gone through in order, all clips are kept in memory.

    Args:
      clips: the data set.
      sources: whether the known sources of a clip come with it.

    Returns:
      int64 [] position -> an element as `ClipDataset.build` gives it.

    Raises:
      SepconError: if `sources` are asked for and not known.
    """
    read = clips.read_with_sources if sources else clips.read
    if read is not None:
        return read
    dataset = with_sources(clips) if sources else clips.build()
    elements, signature = list(dataset.as_numpy_iterator()), dataset.element_spec
    keys = ("id", "audio", "labels", *(("sources",) if sources else ()))

    def fetch(position: np.ndarray) -> list[np.ndarray]:
        return [elements[int(position)][key] for key in keys]

    def read_copy(position: tf.Tensor) -> Element:
        values = tf.numpy_function(
            fetch, [position], [signature[key].dtype for key in keys], stateful=False
        )
        for key, value in zip(keys, values, strict=True):
            value.set_shape(signature[key].shape)
        return dict(zip(keys, values, strict=True))

    return read_copy


def subset(clips: ClipDataset, *, num_clips: int, start: int = 0) -> ClipDataset:
    """Returns a part of a data set: clips that follow each other.

    Args:
      clips: the whole.
      num_clips: how many.
      start: number of the first one, from 0.

    Raises:
      SepconError: if the data set does not hold as many.
    """
    if num_clips < 1 or start < 0 or start + num_clips > clips.num_clips:
        raise SepconError(
            f"{clips.name}: asked for clips {start} to {start + num_clips - 1}, "
            f"but it holds {clips.num_clips}; ask for fewer"
        )

    def part(
        build: Callable[[], tf.data.Dataset], read: ReadClip | None
    ) -> Callable[[], tf.data.Dataset]:
        if read is None:
            return lambda: build().skip(start).take(num_clips)
        # Without reading what is skipped.
        return lambda: map_in_order(tf.data.Dataset.range(start, start + num_clips), read, 2)

    def moved(read: ReadClip | None) -> ReadClip | None:
        return None if read is None else lambda position: read(position + start)

    with_sources = clips.build_with_sources
    return dataclasses.replace(
        clips,
        name=f"{clips.name}[{start}:{start + num_clips}]",
        num_clips=num_clips,
        build=part(clips.build, clips.read),
        build_with_sources=(
            None if with_sources is None else part(with_sources, clips.read_with_sources)
        ),
        read=moved(clips.read),
        read_with_sources=moved(clips.read_with_sources),
        samples=_part_of_samples(clips, np.arange(start, start + num_clips)),
        read_or_next=None,  # the next may be of another part, which is kept for a test
        left_out=None,  # of which part they were is not known
    )


def select(clips: ClipDataset, positions: np.ndarray, *, name: str) -> ClipDataset:
    """Returns the clips at some positions, in their order, without sources.

    Args:
      clips: where they come from.
      positions: integer [n], at least one.
      name: of what is returned.
    """
    read = reader(clips)
    return from_reader(
        name=name,
        num_clips=len(positions),
        class_names=clips.class_names,
        clip_samples=clips.clip_samples,
        read=lambda place: read(tf.gather(tf.constant(positions, tf.int64), place)),
        samples=_part_of_samples(clips, positions),
        sample_rate_hz=clips.sample_rate_hz,
        digest=clips.digest,
    )


class _Once:
    """Opens the samples of clips when they are first asked for; another process opens its own."""

    def __init__(self, open_samples: Callable[[], ClipSamples]) -> None:
        self._open_samples = open_samples
        self._opened: ClipSamples | None = None

    def __call__(self) -> ClipSamples:
        if self._opened is None:
            self._opened = self._open_samples()
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {"_open_samples": self._open_samples, "_opened": None}


def _part_of_samples(clips: ClipDataset, positions: np.ndarray) -> Callable[[], ClipSamples] | None:
    samples = clips.samples
    return None if samples is None else _Once(lambda: samples().part(positions))


def with_sources(clips: ClipDataset) -> tf.data.Dataset:
    """Returns the clips in order with their known sources.

    Args:
      clips: the data set.

    Returns:
      Elements as of `ClipDataset.build_with_sources`.

    Raises:
      SepconError: if the sources of these clips are not known.
    """
    if clips.build_with_sources is None:
        raise SepconError(
            f"{clips.name}: the sources inside these clips are not known; "
            "take sound scenes, which keep them"
        )
    return clips.build_with_sources()
