"""The recordings that sound scenes are mixed from, one by one: clean clips with the same splits."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sepcon.data.clips import ClipDataset, Element, from_reader
from sepcon.errors import SepconError
from sepcon.scenes.prepared_scenes import recordings_dir
from sepcon.scenes.recipe import SPLITS, Recordings, SceneRecipe, activity, add_up, split_recordings
from sepcon.scenes.recordings import open_recordings


class _Opened(NamedTuple):
    """Attributes: recordings; splits, the number in `SPLITS` of each."""

    recordings: Recordings
    splits: np.ndarray


def scene_clips(
    *,
    data_dir: str,
    split: str = "train",
    clips: str = "synthetic",
    clips_dir: str | None = None,
    esc50_dir: str | None = None,
    recipe: SceneRecipe | None = None,
    max_skipped_share: float = 0.05,
) -> ClipDataset:
    """Returns the recordings that the scenes of one split are mixed from, one by one.

    A recording belongs to the split whose scenes it is mixed into, so that a model trained on the
    scenes of one split has heard no recording of another. Each recording has its full length and
    the level `recipe.source_rms`, as in a scene with a gain of 0 dB. Nothing is written: each
    process decodes, or generates, the recordings that it reads.

    Args:
      data_dir: where prepared data sets lie.
      split: "train", "validation" or "test".
      clips: see `sound_scenes`, as for all that follows.
      clips_dir: folder of the recordings.
      esc50_dir: the ESC-50 folder in its official layout.
      recipe: how scenes are mixed.
      max_skipped_share: of the raw files, this share may be undecodable.

    Raises:
      SepconError: there is no recording in this split.
    """
    if split not in SPLITS:
        raise SepconError(f"scene_clips: split is {split!r}, expected one of {', '.join(SPLITS)}")
    folder = recordings_dir(
        data_dir=data_dir,
        clips=clips,
        clips_dir=clips_dir,
        esc50_dir=esc50_dir,
        max_skipped_share=max_skipped_share,
    )
    recipe = SceneRecipe() if recipe is None else recipe
    # gin gives lists, which no cache takes.
    low, high = recipe.gain_db
    recipe = dataclasses.replace(recipe, gain_db=(low, high))
    opened = _open(clips, folder, recipe, max_skipped_share)
    members = np.flatnonzero(opened.splits == SPLITS.index(split))
    if not len(members):
        raise SepconError(f"{clips}: no recording is in the {split} split; give more recordings")
    recordings = opened.recordings

    def fetch(position: np.ndarray) -> tuple[bytes, np.ndarray, np.ndarray]:
        number = int(members[int(position)])
        labels = np.zeros(len(recordings.class_names), np.float32)
        labels[list(recordings.labels[number])] = 1.0
        return recordings.ids[number].encode(), _as_loud(recordings.audio(number), recipe), labels

    def read(position: tf.Tensor) -> Element:
        types = [tf.string, tf.int16, tf.float32]
        values = tf.numpy_function(fetch, [position], types, stateful=False)
        for value, shape in zip(values, ([], [None], [len(recordings.class_names)]), strict=True):
            value.set_shape(shape)
        return dict(zip(("id", "audio", "labels"), values, strict=True))

    return from_reader(
        name=f"recordings of {clips} {recordings.identity}/{split}",
        num_clips=len(members),
        class_names=recordings.class_names,
        clip_samples=None,
        read=read,
    )


@functools.lru_cache(maxsize=1)
def _open(clips: str, folder: str | None, recipe: SceneRecipe, max_skipped_share: float) -> _Opened:
    """Once for all three splits of a process."""
    recordings = open_recordings(
        clips, clips_dir=folder, recipe=recipe, max_skipped_share=max_skipped_share
    )
    return _Opened(recordings, split_recordings(recordings, recipe))


def _as_loud(audio: np.ndarray, recipe: SceneRecipe) -> np.ndarray:
    found = activity(audio)
    assert found is not None  # Recordings of zeros only are left out where they are gathered.
    scale = recipe.source_rms / (32768.0 * found.rms)
    return add_up(audio[np.newaxis] * scale)[0]
