"""Folders of recordings that can be imported: any folder, ESC-50, UrbanSound8K."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sepcon.data.audio_folder import find_audio
from sepcon.data.labels import read_labels
from sepcon.datasets.esc50 import layout as esc50
from sepcon.datasets.urbansound8k import layout as urbansound8k
from sepcon.importing.clip_source import (
    MISSING,
    NO_KNOWN_LABEL,
    NOT_IN_TABLE,
    ClipReference,
    ClipSource,
    FileReader,
    without_duplicates,
)


def audio_folder(*, path: str, labels_csv: str | None = None) -> ClipSource:
    """Returns the audio files of a folder and of those below it, sorted by path.

    A clip is called by its path relative to the folder.

    Args:
      path: the folder. Hidden files and folders are left out.
      labels_csv: a table of labels, see `read_labels`; files that it does not name are left out,
        and names without a file are listed as missing.

    Raises:
      SepconError: there is no folder or no audio, or the table is not understood.
    """
    root = Path(path).expanduser()
    paths = find_audio(root)
    name = root.resolve().name
    if labels_csv is None:
        references = [ClipReference(id=each, source=each) for each in _relative(paths, root)]
        return ClipSource(name, (), references, FileReader(root))
    labels = read_labels(Path(labels_csv).expanduser(), paths, root, allow_missing=True)
    of_path = dict(zip(labels.paths, labels.numbers, strict=True))
    references = [
        ClipReference(
            id=each,
            source=each,
            labels=of_path.get(file, ()),
            group=labels.groups.get(each, ""),
            fold=labels.folds.get(each, ""),
            reason=_reason(of_path.get(file)),
        )
        for file, each in zip(paths, _relative(paths, root), strict=True)
    ]
    references += [ClipReference(id=each, source="", reason=MISSING) for each in labels.missing]
    return ClipSource(name, labels.class_names, references, FileReader(root))


def _relative(paths: Sequence[Path], root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path in paths]


def _reason(numbers: tuple[int, ...] | None) -> str:
    if numbers is None:
        return NOT_IN_TABLE
    return "" if numbers else NO_KNOWN_LABEL


def esc50_folder(*, path: str) -> ClipSource:
    """Returns the clips of ESC-50 in the order of its table, with their folds.

    Args:
      path: the folder in its official layout, WAV or Ogg; folds that are absent do not count.

    Raises:
      SepconError: it is not such a folder.
    """
    root = esc50.require_root(Path(path).expanduser())
    references = without_duplicates(
        ClipReference(
            id=row.filename,
            source=os.path.relpath(row.path, root),
            labels=(esc50.CLASS_NAMES.index(row.category),),
            group=row.src_file,
            fold=str(row.fold),
        )
        for row in esc50.read_rows(root)
    )
    return ClipSource("esc50", esc50.CLASS_NAMES, references, FileReader(root))


def urbansound8k_folder(*, path: str) -> ClipSource:
    """Returns the clips of UrbanSound8K in the order of its table, with its ten folds.

    Args:
      path: the folder in its official layout.

    Raises:
      SepconError: it is not such a folder.
    """
    root = urbansound8k.require_root(Path(path).expanduser())
    references = without_duplicates(
        ClipReference(
            id=row.filename,
            source=str(row.path),
            labels=(row.label,),
            group=row.source_id,
            fold=str(row.fold),
        )
        for row in urbansound8k.read_rows(root)
    )
    return ClipSource("urbansound8k", urbansound8k.CLASS_NAMES, references, FileReader(root))
