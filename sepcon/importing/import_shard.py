"""From clips or images of a source to records and rows of the manifest: one, or a shard of them.

A shard is a pure function of its clips. It knows nothing of processes, so that it can be mapped
over by a pool of them as well as by a pipeline on a cluster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.example_bytes import serialize_example
from sepcon.errors import FileError
from sepcon.images.square import SquareImage
from sepcon.importing.clip_source import BLANK, SILENT, Clip, ClipContent, ClipReader, ClipReference
from sepcon.importing.manifest import ManifestRow, joined

_Features = Mapping[str, bytes | Sequence[int]]


class Converted(NamedTuple):
    """What became of a clip or image.

    Attributes:
      row: in the manifest.
      record: serialized; None of what is left out.
      scores: of the taggers, float16 [frames, classes] by their names.
    """

    row: ManifestRow
    record: bytes | None = None
    scores: Mapping[str, np.ndarray] = MappingProxyType({})


def convert_clip(reference: ClipReference, content: ClipContent | FileError) -> Converted:
    """Returns the row of a clip or image in the manifest, and its record unless it is left out.

    Args:
      reference: the clip or image.
      content: int16 [samples] at 16 kHz, or a clip with more than that, or the image, or what is
        wrong with either.

    Returns:
      The row, and, unless it is left out, the scores and a serialized `tf.train.Example` of id,
      source, labels (class numbers), group and fold; of a clip with audio (the samples as bytes),
      of an image with pixels (uint8 [side, side, 3] as bytes) and the width and height that it had.
    """
    if isinstance(content, FileError):
        return Converted(_row(reference, reason=content.kind, detail=content.detail))
    scores: Mapping[str, np.ndarray] = {}
    if isinstance(content, Clip):
        scores = content.scores
        content = content.audio
    seconds, nothing = _length_of(content), _nothing_in(content)
    if nothing or reference.reason:
        reason = nothing or reference.reason
        return Converted(_row(reference, seconds=seconds, reason=reason))
    row = _row(reference, seconds=seconds)
    record = serialize_example(
        {
            "id": os.fsencode(row.id),
            "source": os.fsencode(row.source),
            **_content_features(content),
            "labels": reference.labels,
            "group": os.fsencode(row.group),
            "fold": os.fsencode(row.fold),
        }
    )
    return Converted(row, record, scores)


def _length_of(content: np.ndarray | SquareImage) -> str:
    """The cell of the manifest."""
    if isinstance(content, SquareImage):
        return ""
    return f"{len(content) / SAMPLE_RATE_HZ:.3f}"


def _nothing_in(content: np.ndarray | SquareImage) -> str:
    """The reason to leave out what holds nothing to hear or to see, else an empty text."""
    if isinstance(content, SquareImage):
        return BLANK if content.is_blank else ""
    return "" if content.any() else SILENT


def _content_features(content: np.ndarray | SquareImage) -> _Features:
    if isinstance(content, SquareImage):
        return {
            "pixels": content.pixels.tobytes(),
            "width": [content.width],
            "height": [content.height],
        }
    return {"audio": content.astype("<i2", copy=False).tobytes()}


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


def convert_shard(read: ClipReader, references: Sequence[ClipReference]) -> Iterator[Converted]:
    """Yields what becomes of each clip of a shard, in their order.

    Args:
      read: the reader of the source.
      references: the clips; those that have a reason to be left out are not read.
    """
    loaded = iter(read([reference for reference in references if not reference.reason]))
    for reference in references:
        if reference.reason:
            yield Converted(_row(reference, reason=reference.reason))
        else:
            yield convert_clip(*next(loaded))
