"""The prepared data sets as `ClipDataset`s: sound scenes and ESC-50.

Each is prepared in `data_dir` at its first use and read from there ever after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from sepcon.data.clips import SAMPLE_RATE_HZ, ClipDataset, Element, ReadClip, from_reader
from sepcon.data.esc50 import layout
from sepcon.data.folds import FoldedClips
from sepcon.data.mixing import SPLITS, SceneRecipe
from sepcon.data.prepared import (
    is_prepared,
    open_builder,
    parse,
    parse_labels,
    prepare_once,
    split_records,
)
from sepcon.data.records import RecordFiles
from sepcon.errors import SepconError


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
      clips_dir: a folder of audio with `labels.csv` (filename,label[;label...][,source]) or a
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
    """Returns where the recordings behind scenes lie; imports ESC-50 if it is to be that.

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
    from sepcon.data.sound_scenes import sound_scenes_dataset_builder as scenes

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

    return prepare_once(make_builder)


def open_sound_scenes(directory: str | Path, *, split: str) -> ClipDataset:
    """Opens prepared sound scenes, without the class that made them.

    Args:
      directory: folder of the TFDS data set, which holds `dataset_info.json`.
      split: "train", "validation" or "test".
    """
    builder = open_builder(Path(directory))
    files = split_records(builder, [split])
    class_names = tuple(builder.info.metadata["class_names"])
    recipe = builder.info.metadata["recipe"]
    num_samples = int(builder.info.features["audio"].shape[0])
    read, read_with_sources = _scene_readers(
        files,
        num_classes=len(class_names),
        num_samples=num_samples,
        max_sources=int(recipe["max_sources"]),
    )
    return from_reader(
        name=f"{builder.info.full_name}/{split}",
        num_clips=len(files),
        class_names=class_names,
        clip_samples=num_samples,
        read=read,
        read_with_sources=read_with_sources,
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


def prepare_esc50(
    *,
    data_dir: str,
    path: str | None = None,
    max_skipped_share: float = 0.05,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> Path:
    """Imports ESC-50 unless that has been done, and returns the folder of the TFDS data set.

    Args:
      data_dir: where prepared data sets lie.
      path: the ESC-50 folder in its official layout; its import goes to a folder of its own, so
        that another ESC-50 folder, say one with all five folds, is imported beside it. None takes
        what `tfds build` put into `data_dir`, or downloads the official release.
      max_skipped_share: of the files, this share may be undecodable.
      sample_rate_hz: what is decoded to; each rate has a folder of its own.
    """
    from sepcon.data.esc50 import esc50_dataset_builder

    parent, root = Path(data_dir).expanduser(), None
    if path is not None:
        root = layout.require_root(Path(path).expanduser())
        parent = parent / f"esc50_{layout.fingerprint(root)}"
    if sample_rate_hz != SAMPLE_RATE_HZ:
        parent = parent / f"{sample_rate_hz}_hz"

    def make_builder() -> tfds.core.DatasetBuilder:
        builder = esc50_dataset_builder.Builder(data_dir=str(parent))
        builder.max_skipped_share = max_skipped_share
        builder.sample_rate_hz = sample_rate_hz
        builder.show_progress = True
        return builder

    directory = parent / "esc50" / str(esc50_dataset_builder.Builder.VERSION)
    if is_prepared(directory):
        return directory
    return prepare_once(make_builder, manual_dir=root)


def esc50(
    *,
    data_dir: str,
    path: str | None = None,
    folds: Sequence[int] = (),
    esc10: bool = False,
    max_skipped_share: float = 0.05,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> ClipDataset:
    """Returns the clips of ESC-50, in the order of folds and of the official table.

    Args:
      data_dir: where prepared data sets lie.
      path: the ESC-50 folder in its official layout; see `prepare_esc50`.
      folds: numbers of the folds; empty takes those present.
      esc10: whether to keep only the ten classes of ESC-10.
      max_skipped_share: of the files, this share may be undecodable.
      sample_rate_hz: of the clips; ESC-50 itself is at 44.1 kHz.

    Raises:
      SepconError: if a fold is not there.
    """
    return esc50_folds(
        data_dir=data_dir,
        path=path,
        folds=folds,
        esc10=esc10,
        max_skipped_share=max_skipped_share,
        sample_rate_hz=sample_rate_hz,
    ).clips


def esc50_folds(
    *,
    data_dir: str,
    path: str | None = None,
    folds: Sequence[int] = (),
    esc10: bool = False,
    max_skipped_share: float = 0.05,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> FoldedClips:
    """Returns the clips of `esc50` with the fold and the Freesound recording of each.

    Args and raises: see `esc50`.
    """
    data_dir = str(Path(data_dir).expanduser())
    directory = prepare_esc50(
        data_dir=data_dir,
        path=path,
        max_skipped_share=max_skipped_share,
        sample_rate_hz=sample_rate_hz,
    )
    builder = open_builder(directory)
    splits = [f"fold{fold}" for fold in folds] or sorted(builder.info.splits)
    files = split_records(builder, splits)
    rows = _esc50_rows(files)
    class_names = tuple(builder.info.features["label"].names)
    positions = np.arange(len(files))
    columns = np.arange(len(class_names))
    if esc10:
        positions = np.flatnonzero([row["esc10"] for row in rows])
        if not len(positions):
            raise SepconError(f"{files.paths[0]}: holds no clip of ESC-10; take other folds")
        columns = np.unique([rows[position]["label"] for position in positions])
    clips = from_reader(
        name=f"esc{'10' if esc10 else '50'}/{'+'.join(splits)}",
        num_clips=len(positions),
        class_names=tuple(class_names[column] for column in columns),
        clip_samples=None,
        read=_esc50_reader(files, positions, columns, num_classes=len(class_names)),
        sample_rate_hz=sample_rate_hz,
    )
    chosen = [rows[position] for position in positions]
    return FoldedClips(
        clips=clips,
        labels=np.searchsorted(columns, [row["label"] for row in chosen]),
        folds=tuple(str(row["fold"]) for row in chosen),
        groups=tuple(row["source_id"].decode() for row in chosen),
    )


def _esc50_rows(files: RecordFiles) -> list[dict[str, Any]]:
    """What the official table says of each clip."""
    features = {"esc10": tf.int64, "label": tf.int64, "fold": tf.int64, "source_id": tf.string}
    parsed = (
        parse(tf.constant(files.bytes_at(position)), features) for position in range(len(files))
    )
    return [{name: value.numpy() for name, value in row.items()} for row in parsed]


def _esc50_reader(
    files: RecordFiles, positions: np.ndarray, columns: np.ndarray, *, num_classes: int
) -> Callable[[tf.Tensor], Element]:
    def read(position: tf.Tensor) -> Element:
        record = tf.gather(tf.constant(positions, tf.int64), position)
        row = parse(
            files.read(record), {"filename": tf.string, "audio": tf.int16, "label": tf.int64}
        )
        labels = tf.gather(tf.one_hot(row["label"], num_classes), columns)
        return {"id": row["filename"], "audio": row["audio"], "labels": labels}

    return read
