"""Sound scenes, mixed once into `data_dir` and then read from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from sepcon.data.clips import ClipDataset, Element, ReadClip, from_reader
from sepcon.data.prepared import (
    PREPARE_AGAIN,
    open_builder,
    parse,
    parse_labels,
    prepare_once,
    split_records,
)
from sepcon.data.records import RecordFiles
from sepcon.data.stored.clip_samples import ClipSamples
from sepcon.data.stored.envelope_file import RecordLayout
from sepcon.data.stored.samples import StoredSamples
from sepcon.datasets.esc50.clips import prepare_esc50
from sepcon.errors import SepconError
from sepcon.runs.json_file import told_if_damaged
from sepcon.scenes.recipe import SPLITS, SceneRecipe

_LAYOUT = RecordLayout("audio", labels="labels")


def sound_scenes(
    *,
    data_dir: str,
    split: str = "train",
    clips: str = "synthetic",
    clips_dir: str | None = None,
    esc50_dir: str | None = None,
    recipe: SceneRecipe | None = None,
    max_skipped_share: float = 0.05,
) -> ClipDataset:
    """Returns the sound scenes of one split; mixes all splits at first use.

    Args:
      data_dir: where prepared data sets lie.
      split: "train", "validation" or "test".
      clips: what is mixed: "synthetic" (built in), "esc50", or a name for what is in `clips_dir`.
      clips_dir: a folder of audio with `labels.csv` (columns filename, label and source) or a
        prepared TFDS data set with `audio` and `label` or `labels`.
      esc50_dir: the ESC-50 folder in its official layout; None takes the ESC-50 prepared in
        `data_dir`, which is downloaded if need be.
      recipe: how scenes are mixed.
      max_skipped_share: of the raw files, this share may be undecodable.

    Raises:
      SepconError: if there is nothing to mix or nowhere to write.
    """
    data_dir = str(Path(data_dir).expanduser())
    if split not in SPLITS:
        raise SepconError(f"sound_scenes: split is {split!r}, expected one of {', '.join(SPLITS)}")
    folder = recordings_dir(
        data_dir=data_dir,
        clips=clips,
        clips_dir=clips_dir,
        esc50_dir=esc50_dir,
        max_skipped_share=max_skipped_share,
    )
    recipe = SceneRecipe() if recipe is None else recipe
    directory = _prepare_scenes(data_dir, clips, folder, recipe, max_skipped_share)
    return open_sound_scenes(directory, split=split)


def recordings_dir(
    *,
    data_dir: str,
    clips: str,
    clips_dir: str | None,
    esc50_dir: str | None,
    max_skipped_share: float,
) -> str | None:
    """Returns the folder of the recordings that scenes are mixed from; prepares ESC-50 if need be.

    Args:
      data_dir: see `sound_scenes`, as for all that follows.
      clips: what is mixed.
      clips_dir: its folder.
      esc50_dir: the ESC-50 folder.
      max_skipped_share: of the files of ESC-50.
    """
    if clips_dir is None and clips == "esc50":
        return str(
            prepare_esc50(data_dir=data_dir, path=esc50_dir, max_skipped_share=max_skipped_share)
        )
    return None if clips_dir is None else str(Path(clips_dir).expanduser())


def _prepare_scenes(
    data_dir: str,
    clips: str,
    clips_dir: str | None,
    recipe: SceneRecipe,
    max_skipped_share: float,
) -> Path:
    # Here and not above: the command `tfds build` imports this module under another name, and
    # TFDS takes no data set twice.
    from sepcon.scenes.sound_scenes import sound_scenes_dataset_builder as scenes

    def make_builder() -> tfds.core.DatasetBuilder:
        config = scenes.SoundScenesConfig(
            name=clips,
            clips=clips,
            clips_dir=clips_dir,
            recipe=recipe,
            max_skipped_share=max_skipped_share,
        )
        builder = scenes.Builder(data_dir=data_dir, config=config)
        builder.show_progress = True
        return builder

    return prepare_once(make_builder, data_dir=data_dir)


def open_sound_scenes(directory: str | Path, *, split: str) -> ClipDataset:
    """Opens prepared sound scenes, without the class that made them.

    Args:
      directory: folder of the TFDS data set, which holds `dataset_info.json`.
      split: "train", "validation" or "test".
    """
    builder = open_builder(Path(directory))
    files = split_records(builder, [split])
    cure = "delete the folder, then the same command prepares it again"
    with told_if_damaged(Path(directory), cure=cure):
        class_names = tuple(map(str, builder.info.metadata["class_names"]))
        max_sources = int(builder.info.metadata["recipe"]["max_sources"])
        num_samples = int(builder.info.features["audio"].shape[0])
    read, read_with_sources = _scene_readers(
        files,
        num_classes=len(class_names),
        num_samples=num_samples,
        max_sources=max_sources,
    )
    return from_reader(
        name=f"{builder.info.full_name}/{split}",
        num_clips=len(files),
        class_names=class_names,
        clip_samples=num_samples,
        read=read,
        read_with_sources=read_with_sources,
        samples=lambda: ClipSamples(
            StoredSamples(files.paths, _LAYOUT, cure=PREPARE_AGAIN),
            np.arange(len(files)),
            np.arange(len(class_names)),
        ),
    )


def _scene_readers(
    files: RecordFiles, *, num_classes: int, num_samples: int, max_sources: int
) -> tuple[ReadClip, ReadClip]:
    def element(serialized: tf.Tensor) -> Element:
        row = parse(serialized, {"id": tf.string, "audio": tf.int16})
        return {
            "id": row["id"],
            "audio": tf.ensure_shape(row["audio"], [num_samples]),
            "labels": parse_labels(serialized, num_classes),
        }

    def read(position: tf.Tensor) -> Element:
        return element(files.read(position))

    def read_with_sources(position: tf.Tensor) -> Element:
        serialized = files.read(position)
        samples = parse(serialized, {"sources": tf.int16})["sources"]
        present = tf.reshape(samples, [-1, num_samples])  # [source, samples]
        absent = tf.zeros([max_sources - tf.shape(present)[0], num_samples], tf.int16)
        sources = tf.concat([present, absent], axis=0)
        return element(serialized) | {
            "sources": tf.ensure_shape(sources, [max_sources, num_samples])
        }

    return read, read_with_sources
