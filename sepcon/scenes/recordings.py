"""The recordings that scenes are mixed from: the built-in events, ESC-50, a folder, a TFDS set.

Each recording is decoded once into one temporary file of int16 samples, so that mixing needs
neither a decoder nor the whole collection in memory. The file has no name in the file system, so
nothing is left of it when the process ends, in whatever way.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from sepcon.audio.decode import DecodeReport
from sepcon.audio.samples import to_int16
from sepcon.data.audio_folder import find_audio
from sepcon.data.labels import read_labels
from sepcon.data.prepared import open_builder, split_records
from sepcon.datasets.esc50.prepared_esc50 import NAME as ESC50
from sepcon.datasets.esc50.prepared_esc50 import read_clips
from sepcon.datasets.tfds import (
    audio_feature,
    decode_samples,
    label_feature,
    label_names,
    sample_rate_hz,
)
from sepcon.errors import SepconError, one_line
from sepcon.runs.whole_file import told_if_unwritable
from sepcon.scenes.recipe import Recordings, SceneRecipe
from sepcon.scenes.synthetic import SyntheticEvents

# Of the built-in events, before they had a version: a digest of samples, which came out otherwise
# where BLAS has several threads, or a processor that multiplies and adds in one step.
_EARLIER_IDENTITIES = ("2af641ff", "373c9480", "228e5a28", "e734da8f", "0848132c")


class Recording(NamedTuple):
    """One recording on its way into `Recordings`; see there."""

    identifier: str
    group: str
    fold: int
    labels: tuple[int, ...]
    audio: np.ndarray


def _told_of_temporary_files() -> contextlib.AbstractContextManager[None]:
    """Names the folder of temporary files, which may be on another disk than the results."""
    cure = "make room there, or set TMPDIR to a folder on another disk; the same command goes on"
    return told_if_unwritable(tempfile.gettempdir(), cure=cure)


class _SampleFile:
    """A nameless file of int16 samples with a place for each recording."""

    def __init__(self) -> None:
        with _told_of_temporary_files():
            self._file = tempfile.TemporaryFile(prefix="sepcon_recordings_")  # noqa: SIM115
        self._ends = [0]

    def append(self, audio: np.ndarray) -> None:
        with _told_of_temporary_files():
            self._file.write(audio.astype(np.int16).tobytes())
        self._ends.append(self._ends[-1] + len(audio))

    def audio(self, number: int) -> np.ndarray:
        with _told_of_temporary_files():
            self._file.flush()
        start, stop = self._ends[number], self._ends[number + 1]
        data = os.pread(self._file.fileno(), 2 * (stop - start), 2 * start)
        return np.frombuffer(data, np.int16)


def collect(
    recordings: Iterable[Recording], *, class_names: tuple[str, ...], identity: str
) -> Recordings:
    """Collects recordings for mixing; silent ones and those without a label are left out.

    Args:
      recordings: one by one.
      class_names: of their labels.
      identity: text that tells this collection from others.

    Raises:
      SepconError: if none is left.
    """
    store = _SampleFile()
    kept = []
    for recording in recordings:
        if recording.labels and recording.audio.any():
            store.append(recording.audio)
            kept.append(recording._replace(audio=np.zeros(0, np.int16)))
    if not kept:
        raise SepconError("sound scenes: no labelled recording with sound in it; give others")
    return Recordings(
        class_names=class_names,
        ids=tuple(recording.identifier for recording in kept),
        groups=tuple(recording.group for recording in kept),
        folds=tuple(recording.fold for recording in kept),
        labels=tuple(recording.labels for recording in kept),
        audio=store.audio,
        identity=identity,
    )


def identity_of(clips: str, clips_dir: str | None) -> str:
    """Computes a short digest of the recordings that `open_recordings` would return.

    Args:
      clips: "synthetic", "esc50", or a name for what lies in `clips_dir`.
      clips_dir: their folder.

    Returns:
      The digest, made without decoding; "" when the recordings are not there yet.
    """
    if clips == "synthetic":
        return SyntheticEvents.version
    if clips_dir is None or not Path(clips_dir).is_dir():
        return ""
    folder = Path(clips_dir)
    if not (folder / "dataset_info.json").is_file():
        paths = find_audio(folder, tell=False)
        lines = [f"{path.relative_to(folder)} {path.stat().st_size}" for path in paths]
        labels = folder / "labels.csv"
        lines.append(_text_of(labels) if labels.is_file() else "")
        return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()[:8]
    builder = tfds.builder_from_directory(folder)
    metadata = builder.info.metadata or {}
    lines = [builder.info.full_name, str(metadata.get("fingerprint", ""))]
    lines += [f"{name} {info.num_examples} {info.num_bytes}" for name, info in _splits(builder)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def earlier_identities_of(clips: str) -> tuple[str, ...]:
    """Returns what versions before have called the same recordings, the likeliest first.

    Args:
      clips: see `identity_of`.
    """
    return _EARLIER_IDENTITIES if clips == "synthetic" else ()


def _text_of(table: Path) -> str:
    """A table as text, whatever it is encoded in, with line ends as they always were hashed."""
    return io.StringIO(os.fsdecode(table.read_bytes()), newline=None).read()


def _splits(builder: tfds.core.DatasetBuilder) -> list[tuple[str, tfds.core.SplitInfo]]:
    return sorted(builder.info.splits.items())


def open_recordings(
    clips: str,
    *,
    clips_dir: str | None,
    recipe: SceneRecipe,
    max_skipped_share: float = 0.05,
    report: DecodeReport | None = None,
) -> Recordings:
    """Decodes a collection for mixing.

    Args:
      clips: "synthetic", "esc50", or any name for what lies in `clips_dir`.
      clips_dir: a prepared TFDS data set, or a folder of audio with `labels.csv`; unused for the
        built-in events.
      recipe: how many built-in events to make, and from which seed.
      max_skipped_share: of the files of a folder, this share may be undecodable.
      report: counts what was decoded and skipped.

    Returns:
      The recordings, as samples with labels, fold and group.

    Raises:
      SepconError: they are not there, have no labels, or too many of them cannot be decoded.
    """
    identity = identity_of(clips, clips_dir)
    if clips == "synthetic":
        generator = SyntheticEvents()
        return collect(
            _synthetic(generator, recipe), class_names=generator.class_names, identity=identity
        )
    if clips_dir is None or not Path(clips_dir).is_dir():
        raise SepconError(
            f"sound scenes of {clips}: its clips are not at {clips_dir}; prepare them first "
            "(tfds build sepcon/datasets/esc50 --manual_dir=... --data_dir=...) or check the path"
        )
    folder = Path(clips_dir)
    if not (folder / "dataset_info.json").is_file():
        report = DecodeReport() if report is None else report
        return _folder(folder, identity, report, max_skipped_share)
    builder = open_builder(folder)
    if builder.name == ESC50:
        names = tuple(builder.info.features["label"].names)
        return collect(_esc50(builder), class_names=names, identity=identity)
    names = label_names(builder, _label_feature(builder))
    return collect(_tfds(builder), class_names=names, identity=identity)


def _synthetic(generator: SyntheticEvents, recipe: SceneRecipe) -> Iterator[Recording]:
    for label, name in enumerate(generator.class_names):
        for number in range(recipe.synthetic_clips_per_class):
            identifier = f"{name}-{number}"
            audio = to_int16(generator.generate(label, recipe.seed * 1_000_000 + number))
            yield Recording(identifier, identifier, 0, (label,), audio)


def _esc50(builder: tfds.core.DatasetBuilder) -> Iterator[Recording]:
    files = split_records(builder, [name for name, _ in _splits(builder)])
    for clip in read_clips(files, ("audio", "label", "fold", "source_id", "filename")):
        yield Recording(
            clip["filename"].decode(),
            clip["source_id"].decode(),
            int(clip["fold"]),
            (int(clip["label"]),),
            clip["audio"],
        )


def _folder(
    folder: Path, identity: str, report: DecodeReport, max_skipped_share: float
) -> Recordings:
    labels = read_labels(folder / "labels.csv", find_audio(folder), folder)

    def recordings() -> Iterator[Recording]:
        for path, numbers in zip(labels.paths, labels.numbers, strict=True):
            audio = report.decode(path)
            if audio is not None:
                name = str(path.relative_to(folder))
                yield Recording(name, labels.groups.get(name, name), 0, numbers, audio)
        report.check_share(max_skipped_share)

    return collect(recordings(), class_names=labels.class_names, identity=identity)


def _label_feature(builder: tfds.core.DatasetBuilder) -> str:
    name = label_feature(builder)
    if name is None:
        raise SepconError(
            f"{builder.data_dir}: has features {', '.join(builder.info.features)}, expected audio "
            "and label or labels; give another data set"
        )
    return name


def _tfds(builder: tfds.core.DatasetBuilder) -> Iterator[Recording]:
    """Goes through any TFDS data set with audio and `label` or `labels`."""
    label, key = _label_feature(builder), audio_feature(builder)
    rate_hz = sample_rate_hz(builder, key)
    for split, _ in _splits(builder):
        rows = enumerate(tfds.as_numpy(builder.as_dataset(split=split)))
        try:
            for number, row in rows:
                name = f"{split}-{number}"
                labels = tuple(int(each) for each in np.atleast_1d(row[label]))
                yield Recording(name, name, 0, labels, decode_samples(row[key], rate_hz))
        except tf.errors.DataLossError as error:
            raise SepconError(
                f"{builder.data_dir}: a record of {split} is damaged ({one_line(error)}); delete "
                "the folder and prepare it again"
            ) from error
