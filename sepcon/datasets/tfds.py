"""Any prepared TFDS data set with audio in it, such as `gtzan` or `fuss`, as a source of clips."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sepcon.audio.decode import resample
from sepcon.audio.files import AudioError, average_channels
from sepcon.audio.samples import FULL_SCALE, to_int16
from sepcon.data.prepared import open_builder, split_records
from sepcon.data.records import RecordFiles
from sepcon.errors import SepconError
from sepcon.importing.clip_source import NO_KNOWN_LABEL, ClipReference, ClipSource, Loaded

# fuss calls its clips mixture_audio.
_AUDIO = ("audio", "mixture_audio")
_LABELS = ("label", "labels")
# Features that name the recording, where a data set has one of them.
_NAMES = ("id", "audio/filename", "filename")


def tfds_set(*, path: str) -> ClipSource:
    """Returns the clips of all splits of a prepared TFDS data set.

    A clip is called by its split and its number in it; the fold is the split, and the group the
    name that the data set itself gives, if it does. It may have a `label` or `labels`.

    Args:
      path: its folder, which holds `dataset_info.json`.

    Raises:
      SepconError: there is none, or it has no audio or does not say its sample rate.
    """
    folder = Path(path).expanduser()
    builder = open_builder(folder)
    key = audio_feature(builder)
    sample_rate_hz(builder, key)
    references = [
        ClipReference(id=f"{split}-{number}", source=split, row=number, fold=split)
        for split, info in sorted(builder.info.splits.items())
        for number in range(info.num_examples)
    ]
    label = label_feature(builder)
    names = () if label is None else label_names(builder, label)
    return ClipSource(builder.name, names, references, TfdsReader(folder))


@dataclasses.dataclass(frozen=True)
class TfdsReader:
    """Reads clips that are records of a TFDS data set.

    Attributes:
      folder: of the data set.
    """

    folder: Path

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        builder = open_builder(self.folder)
        key, label = audio_feature(builder), label_feature(builder)
        rate_hz = sample_rate_hz(builder, key)
        # Only what is read is parsed: the sources of fuss are four times its mixtures.
        names = [key, *([label] if label else []), *_present(builder, _NAMES)[:1]]
        info = builder.info.features
        features = tfds.features.FeaturesDict({name: info[name] for name in names})
        for reference in references:
            assert reference.row is not None, reference
            record = _records(self.folder, reference.source).bytes_at(reference.row)
            row = features.deserialize_example_np(record)
            read = _described(reference, row, label)
            try:
                yield read, decode_samples(row[key], rate_hz)
            except AudioError as error:
                yield read, error


@functools.lru_cache(maxsize=8)
def _records(folder: Path, split: str) -> RecordFiles:
    return split_records(open_builder(folder), [split])


def _described(
    reference: ClipReference, row: Mapping[str, Any], label: str | None
) -> ClipReference:
    """Adds what a record says of its clip; TFDS gives -1 where a label is not known."""
    group = next((os.fsdecode(row[name]) for name in _NAMES if name in row), "")
    if label is None:
        return dataclasses.replace(reference, group=group)
    labels = tuple(sorted({int(each) for each in np.atleast_1d(row[label]) if each >= 0}))
    reason = "" if labels else NO_KNOWN_LABEL
    return dataclasses.replace(reference, labels=labels, group=group, reason=reason)


def decode_samples(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Returns the samples of a TFDS record as int16 [samples], mono at 16 kHz.

    Args:
      samples: [samples] or [samples, channels]; integers are 16-bit, floats have 1.0 as full scale.
      rate_hz: their rate.

    Raises:
      AudioError: there is none, or one is not a number.
    """
    if not samples.size:
        raise AudioError("empty", "record", "holds no samples; prepare the data set again")
    audio = np.asarray(samples, np.float32)
    if np.issubdtype(samples.dtype, np.integer):
        audio = audio / np.float32(FULL_SCALE)
    if not np.isfinite(audio).all():
        raise AudioError("damaged", "record", "holds a sample that is not a number")
    return to_int16(resample(audio if audio.ndim == 1 else average_channels(audio), rate_hz))


def _present(builder: tfds.core.DatasetBuilder, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in builder.info.features]


def audio_feature(builder: tfds.core.DatasetBuilder) -> str:
    """Returns the name of the feature that holds the audio.

    Raises:
      SepconError: there is none.
    """
    found = _present(builder, _AUDIO)
    if not found:
        raise SepconError(
            f"{builder.data_dir}: has features {', '.join(builder.info.features)}, expected "
            f"{' or '.join(_AUDIO)}; give another data set"
        )
    return found[0]


def label_feature(builder: tfds.core.DatasetBuilder) -> str | None:
    """Returns the name of the feature that holds the labels, None where nothing is labelled."""
    return next(iter(_present(builder, _LABELS)), None)


def label_names(builder: tfds.core.DatasetBuilder, label: str) -> tuple[str, ...]:
    """Returns the classes that a feature gives the numbers of.

    Raises:
      SepconError: they have no names.
    """
    feature = builder.info.features[label]
    names = getattr(feature, "names", None)
    names = names or getattr(getattr(feature, "feature", None), "names", None)
    if not names:
        raise SepconError(f"{builder.data_dir}: its labels have no class names; give another set")
    return tuple(names)


def sample_rate_hz(builder: tfds.core.DatasetBuilder, key: str) -> int:
    """Returns the sample rate of a feature.

    Raises:
      SepconError: neither the feature nor the metadata say it.
    """
    metadata = builder.info.metadata or {}
    rate = getattr(builder.info.features[key], "sample_rate", None)
    rate = rate or metadata.get("sample_rate_hz")
    if not rate:
        raise SepconError(
            f"{builder.data_dir}: does not say its sample rate; expected it in the Audio feature "
            "or in the metadata as sample_rate_hz"
        )
    return int(rate)
