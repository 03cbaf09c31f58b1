"""AudioSet as parquet files that hold the audio itself, with columns video_id, audio and labels.

Read a few rows at a time: a row group holds hundreds of clips.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sepcon.audio.decode import decode_bytes
from sepcon.audio.files import AudioError
from sepcon.datasets.audioset.classes import AudioSetClasses, read_classes
from sepcon.errors import SepconError, one_line
from sepcon.importing.clip_source import (
    NO_KNOWN_LABEL,
    ClipReference,
    ClipSource,
    Loaded,
    without_duplicates,
)

_COLUMNS = ("video_id", "audio", "labels")
_BATCH_ROWS = 8
_LIST_ROWS = 4096
_BUFFER_BYTES = 1 << 20


def audioset_parquet(*, parquet_dir: str, classes_csv: str) -> ClipSource:
    """Returns the clips of all parquet files below a folder.

    A clip is called by its `video_id`. The fold is the name of the folder: `bal_train`,
    `unbal_train` or `eval` in the distribution on Hugging Face.

    Args:
      parquet_dir: the folder.
      classes_csv: `class_labels_indices.csv`; `labels` are mids.

    Raises:
      SepconError: pyarrow is not installed, there is no parquet file, or one is not readable.
    """
    root = Path(parquet_dir).expanduser()
    classes = read_classes(Path(classes_csv).expanduser())
    paths = sorted(root.rglob("*.parquet"))
    if not paths:
        raise SepconError(f"{root}: holds no .parquet file, in it or below; check the path")
    fold = root.resolve().name
    references = without_duplicates(
        reference for path in paths for reference in _references(root, path, fold, classes)
    )
    return ClipSource(
        name=f"audioset_{fold}",
        class_names=classes.names,
        references=references,
        read=ParquetReader(root),
    )


def _references(
    root: Path, path: Path, fold: str, classes: AudioSetClasses
) -> Iterator[ClipReference]:
    file = _open(path)
    missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise SepconError(
            f"{path}: column {missing[0]} is missing, found {','.join(file.schema_arrow.names)}; "
            f"expected {','.join(_COLUMNS)}"
        )
    source, row = os.path.relpath(path, root), 0
    for batch in file.iter_batches(_LIST_ROWS, columns=["video_id", "labels"]):
        columns = (batch.column("video_id").to_pylist(), batch.column("labels").to_pylist())
        for video_id, mids in zip(*columns, strict=True):
            labels, unknown = classes.encode(mids or ())
            yield ClipReference(
                id=video_id,
                source=source,
                row=row,
                labels=labels,
                unknown_labels=unknown,
                fold=fold,
                reason="" if labels else NO_KNOWN_LABEL,
            )
            row += 1


def _open(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise SepconError(
            "parquet files need pyarrow, which is not installed: pip install 'sepcon[parquet]'"
        ) from None
    try:
        return parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES)
    except (OSError, ArrowException) as error:
        raise SepconError(
            f"{path}: is not a whole parquet file ({one_line(error)}); fetch it again, or remove "
            "it to import the others"
        ) from error


@dataclasses.dataclass(frozen=True)
class ParquetReader:
    """Reads clips that are rows of parquet files.

    Attributes:
      root: the folder that `ClipReference.source` is relative to.
    """

    root: Path

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        for source, group in groupby(references, key=lambda reference: reference.source):
            yield from _read_file(self.root / source, list(group))


def _read_file(path: Path, references: list[ClipReference]) -> Iterator[Loaded]:
    """Reads rows of one file, in the order of the rows; where it is damaged the rest is faulty."""
    from pyarrow import ArrowException

    done = 0
    try:
        contents = _contents(path, [_row(reference) for reference in references])
        for reference, content in zip(references, contents, strict=True):
            done += 1
            yield reference, _decode(content, reference)
    except (OSError, ArrowException, SepconError) as error:
        detail = f"the parquet file is damaged ({one_line(error)}); fetch it again"
        for reference in references[done:]:
            yield reference, AudioError("damaged", str(path), detail)


def _row(reference: ClipReference) -> int:
    assert reference.row is not None, reference
    return reference.row


def _contents(path: Path, rows: list[int]) -> Iterator[memoryview | None]:
    """Yields the bytes of the audio of some rows, which are in ascending order."""
    file = _open(path)
    wanted, start = iter([*rows, -1]), 0
    next_row = next(wanted)
    for group in range(file.metadata.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        if start <= next_row < end:
            for batch in file.iter_batches(
                _BATCH_ROWS, row_groups=[group], columns=["audio.bytes"]
            ):
                while start <= next_row < start + len(batch):
                    yield _buffer(batch.column("audio").field("bytes")[next_row - start])
                    next_row = next(wanted)
                start += len(batch)
        start = end


def _buffer(scalar: Any) -> memoryview | None:
    """The bytes of a cell, not copied; None where it is empty of them."""
    buffer = scalar.as_buffer()
    return None if buffer is None else memoryview(buffer)


def _decode(content: memoryview | None, reference: ClipReference) -> Any:
    if content is None:
        return AudioError("missing", reference.id, "its row has no audio")
    if not content:
        return AudioError("empty", reference.id, "is empty (0 bytes); fetch it again")
    try:
        return decode_bytes(content, reference.id)
    except AudioError as fault:
        return fault
