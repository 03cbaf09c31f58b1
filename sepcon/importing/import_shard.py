"""From clips of a source to records and rows of the manifest: one clip, or one shard of them.

A shard is a pure function of its clips. It knows nothing of processes, so that it can be mapped
over by a pool of them as well as by a pipeline on a cluster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from sepcon.audio.files import AudioError
from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.example_bytes import serialize_example
from sepcon.importing.clip_source import SILENT, AudioReader, ClipReference
from sepcon.importing.manifest import ManifestRow, joined

Converted = tuple[ManifestRow, bytes | None]


def convert_clip(reference: ClipReference, audio: np.ndarray | AudioError) -> Converted:
    """Returns the row of a clip in the manifest, and its record unless it is left out.

    Args:
      reference: the clip.
      audio: int16 [samples] at 16 kHz, or what is wrong with it.

    Returns:
      The row, and a serialized `tf.train.Example` of id, source, audio (the samples as bytes),
      labels (class numbers), group and fold.
    """
    if isinstance(audio, AudioError):
        return _row(reference, reason=audio.kind, detail=audio.detail), None
    seconds = f"{len(audio) / SAMPLE_RATE_HZ:.3f}"
    if not audio.any():
        return _row(reference, seconds=seconds, reason=SILENT), None
    if reference.reason:
        return _row(reference, seconds=seconds, reason=reference.reason), None
    row = _row(reference, seconds=seconds)
    record = serialize_example(
        {
            "id": os.fsencode(row.id),
            "source": os.fsencode(row.source),
            "audio": audio.astype("<i2", copy=False).tobytes(),
            "labels": reference.labels,
            "group": os.fsencode(row.group),
            "fold": os.fsencode(row.fold),
        }
    )
    return row, record


def _row(
    reference: ClipReference, *, seconds: str = "", reason: str = "", detail: str = ""
) -> ManifestRow:
    row = "" if reference.row is None else f"#{reference.row}"
    return ManifestRow(
        id=reference.id,
        source=f"{reference.source}{row}",
        seconds=seconds,
        labels=joined(reference.labels),
        group=reference.group,
        fold=reference.fold,
        unknown_labels=joined(reference.unknown_labels),
        reason=reason,
        detail=detail,
    )


def convert_shard(read: AudioReader, references: Sequence[ClipReference]) -> Iterator[Converted]:
    """Yields what becomes of each clip of a shard, in their order.

    Args:
      read: the reader of the source.
      references: the clips; those that have a reason to be left out are not read.
    """
    loaded = iter(read([reference for reference in references if not reference.reason]))
    for reference in references:
        if reference.reason:
            yield _row(reference, reason=reference.reason), None
        else:
            yield convert_clip(*next(loaded))
