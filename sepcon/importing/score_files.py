"""The scores that taggers gave to imported clips: a file beside each file of records.

They are kept as they came, float16, of every window of sound or frame of a video. What of them is
a label is chosen when they are read, see `MachineLabels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sepcon.errors import SepconError, one_line
from sepcon.importing.tagger_note import TaggerNote
from sepcon.runs.json_file import DAMAGE
from sepcon.runs.whole_file import write_arrays


def scores_path(root: Path, number: int) -> Path:
    """Returns the file with the scores of shard `number` of the import in `root`."""
    return root / f"scores-{number:05d}.npz"


def write_scores(
    path: Path, notes: Sequence[TaggerNote], clips: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Writes the scores of all records of a shard, whole or not at all.

    Args:
      path: the file.
      notes: of the taggers.
      clips: name of a tagger -> float16 [frames, classes], for each record in order.

    Raises:
      WriteError: it cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, note in enumerate(notes):
        of_clips = [clip[note.name] for clip in clips]
        none = np.zeros((0, len(note.class_names)), np.float16)
        arrays[f"{number}.frames"] = np.asarray([len(each) for each in of_clips], np.int32)
        arrays[f"{number}.scores"] = np.concatenate([none, *of_clips]).astype("<f2")
    write_arrays(path, arrays)


def read_scores(
    root: Path, notes: Sequence[TaggerNote], name: str, counts: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields what a tagger says of the records of each shard of an import.

    Args:
      root: the folder of the import.
      notes: of its taggers.
      name: of the one that is asked for.
      counts: records of each shard.

    Yields:
      Integer [records], the windows or frames of each; and float16 [all of them, classes].

    Raises:
      SepconError: the import has no such tagger, or a file is damaged or of other records.
    """
    names = [note.name for note in notes]
    if name not in names:
        raise SepconError(
            f"{root}: holds no scores of a tagger {name!r}, it has "
            f"{', '.join(names) or 'none'}; name one of these, or import with TAGGERS"
        )
    number, classes = names.index(name), len(notes[names.index(name)].class_names)
    for shard, records in enumerate(counts):
        yield _read_file(scores_path(root, shard), number, classes, records)


def _read_file(
    path: Path, number: int, classes: int, records: int
) -> tuple[np.ndarray, np.ndarray]:
    """The scores of one shard, checked as a whole by the checksum of the archive."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            frames, scores = arrays[f"{number}.frames"], arrays[f"{number}.scores"]
        if len(frames) != records or scores.shape != (frames.sum(), classes) or 0 in frames:
            raise ValueError(f"{len(frames)} clips and {scores.shape} scores, not {records} clips")
        if scores.dtype != np.float16:
            raise ValueError(f"scores are {scores.dtype}")
    except DAMAGE as error:
        raise SepconError(
            f"{path}: does not hold the scores of its shard ({one_line(error)}); import again"
        ) from error
    return frames, scores
