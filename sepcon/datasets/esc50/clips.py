"""The clips of ESC-50, decoded once into `data_dir` and then read from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from sepcon.data.clips import SAMPLE_RATE_HZ, ClipDataset, Element, from_reader
from sepcon.data.folds import FoldedClips
from sepcon.data.prepared import (
    PREPARE_AGAIN,
    is_prepared,
    open_builder,
    prepare_once,
    split_records,
)
from sepcon.data.records import RecordFiles
from sepcon.data.stored.clip_samples import ClipSamples
from sepcon.data.stored.envelope_file import RecordLayout
from sepcon.data.stored.samples import StoredSamples
from sepcon.datasets.esc50 import layout
from sepcon.datasets.esc50.prepared_esc50 import parse_clip, prepared_folder, read_clips
from sepcon.errors import SepconError

_LAYOUT = RecordLayout("audio", id="filename", labels="label")


def prepare_esc50(
    *,
    data_dir: str,
    path: str | None = None,
    max_skipped_share: float = 0.05,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> Path:
    """Prepares ESC-50 as a TFDS data set, unless that has been done.

    Args:
      data_dir: where prepared data sets lie.
      path: the ESC-50 folder in its official layout; its import goes to a folder of its own, so
        that another ESC-50 folder, say one with all five folds, is imported beside it. None takes
        what `tfds build` put into `data_dir`, or downloads the official release.
      max_skipped_share: of the files, this share may be undecodable.
      sample_rate_hz: what is decoded to; each rate has a folder of its own.

    Returns:
      The folder of the TFDS data set.

    Raises:
      SepconError: `path` is no ESC-50 folder, too many files cannot be decoded, or `data_dir`
        cannot be written.
    """
    from sepcon.datasets.esc50 import esc50_dataset_builder

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

    directory = prepared_folder(parent)
    if is_prepared(directory):
        return directory
    return prepare_once(make_builder, data_dir=parent, manual_dir=root)


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

    Args:
      data_dir: see `esc50`, as for all others.
      path: the ESC-50 folder.
      folds: numbers of the folds.
      esc10: whether to keep only ESC-10.
      max_skipped_share: of the files.
      sample_rate_hz: of the clips.

    Raises:
      SepconError: a fold is not there, or none of the clips belongs to ESC-10.
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
    rows = list(read_clips(files, ("esc10", "label", "fold", "source_id")))
    class_names = tuple(builder.info.features["label"].names)
    positions = np.arange(len(files))
    columns = numbers = np.arange(len(class_names))
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
        samples=lambda: ClipSamples(
            StoredSamples(files.paths, _LAYOUT, cure=PREPARE_AGAIN),
            positions,
            np.asarray([np.searchsorted(columns, n) if n in columns else -1 for n in numbers]),
        ),
        sample_rate_hz=sample_rate_hz,
    )
    chosen = [rows[position] for position in positions]
    return FoldedClips(
        clips=clips,
        labels=np.searchsorted(columns, [row["label"] for row in chosen]),
        folds=tuple(str(row["fold"]) for row in chosen),
        groups=tuple(row["source_id"].decode() for row in chosen),
    )


def _esc50_reader(
    files: RecordFiles, positions: np.ndarray, columns: np.ndarray, *, num_classes: int
) -> Callable[[tf.Tensor], Element]:
    def read(position: tf.Tensor) -> Element:
        record = tf.gather(tf.constant(positions, tf.int64), position)
        row = parse_clip(files.read(record), ("filename", "audio", "label"))
        labels = tf.gather(tf.one_hot(row["label"], num_classes), columns)
        return {"id": row["filename"], "audio": row["audio"], "labels": labels}

    return read
