"""The manifest of an import: a table of every clip of the source, and why it was left out."""

from __future__ import annotations

import collections
import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from sepcon.audio import files as audio_files
from sepcon.errors import SepconError, refuse_pipe
from sepcon.images import decode as image_files
from sepcon.importing.clip_source import MISSING
from sepcon.runs.csv_text import write_csv_rows
from sepcon.video import container as video_files

# Reasons that say that a recording, image or video is there and cannot be used.
FAULTS = frozenset(
    (*audio_files.FAULT_KINDS, *image_files.FAULT_KINDS, *video_files.FAULT_KINDS)
) - {MISSING}
_SEPARATOR = ";"


@dataclasses.dataclass(frozen=True, slots=True)
class ManifestRow:
    """What became of a clip.

    Attributes:
      id: its name.
      source: the file that held it, with `#` and a number where a file holds several.
      seconds: its length, with three digits; empty where its audio could not be read, and of
        images.
      labels: class numbers, separated by semicolons.
      group: the original recording it was cut from, where that is known.
      fold: the fold or split that the source puts it in, where it does.
      unknown_labels: labels that are no class of the source, separated by semicolons.
      reason: why it was left out; empty for what was imported.
      detail: the same at length.
    """

    id: str
    source: str
    seconds: str = ""
    labels: str = ""
    group: str = ""
    fold: str = ""
    unknown_labels: str = ""
    reason: str = ""
    detail: str = ""

    @property
    def label_numbers(self) -> tuple[int, ...]:
        """The classes of the clip."""
        return tuple(int(label) for label in self.labels.split(_SEPARATOR) if label)


COLUMNS = tuple(field.name for field in dataclasses.fields(ManifestRow))


def joined(labels: Iterable[object]) -> str:
    """Returns labels as a cell of the table."""
    return _SEPARATOR.join(map(str, labels))


def write_rows(file: IO[str], rows: Iterable[ManifestRow]) -> None:
    """Appends rows to a table that was opened with `open_table`."""
    write_csv_rows(file, map(dataclasses.astuple, rows))


def open_table(path: Path, mode: str) -> IO[str]:
    """Opens a table as text; file names that are no valid UTF-8 survive."""
    refuse_pipe(path)
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")


def read_rows(path: Path, *, header: bool = True) -> Iterator[ManifestRow]:
    """Yields the rows of a manifest, or of a part of one, which has no header.

    Raises:
      SepconError: it is missing or is no manifest.
    """
    try:
        with open_table(path, "r") as file:
            reader = csv.reader(file)
            if header and tuple(next(reader, ())) != COLUMNS:
                raise ValueError(f"its columns are not {','.join(COLUMNS)}")
            for row in reader:
                if len(row) != len(COLUMNS):
                    raise ValueError(f"line {reader.line_num} has {len(row)} columns")
                yield ManifestRow(*row)
    except (OSError, ValueError, csv.Error) as error:
        raise SepconError(
            f"{path}: is no manifest of an import ({error}); import the clips again"
        ) from error


@dataclasses.dataclass
class Counts:
    """Counts what became of the clips of a source.

    Attributes:
      reasons: clips by reason; those that were imported have the empty one.
      seconds: length of those that were imported.
      unknown_labels: clips by the label that is no class of the source.
    """

    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    seconds: float = 0.0
    unknown_labels: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )

    def add(self, row: ManifestRow) -> None:
        self.reasons[row.reason] += 1
        if not row.reason:
            self.seconds += float(row.seconds or 0)
        if row.unknown_labels:
            self.unknown_labels.update(row.unknown_labels.split(_SEPARATOR))

    def update(self, other: Counts) -> None:
        """Adds what another has counted."""
        self.reasons.update(other.reasons)
        self.seconds += other.seconds
        self.unknown_labels.update(other.unknown_labels)

    @property
    def clips(self) -> int:
        """All clips."""
        return self.reasons.total()

    @property
    def kept(self) -> int:
        """Clips that were imported."""
        return self.reasons[""]

    @property
    def faults(self) -> int:
        """Clips whose audio is there and cannot be used."""
        return sum(count for reason, count in self.reasons.items() if reason in FAULTS)

    def left_out(self) -> Mapping[str, int]:
        """Clips that were not imported by reason, in the order of the alphabet."""
        return {reason: count for reason, count in sorted(self.reasons.items()) if reason}


def count(rows: Iterable[ManifestRow]) -> Counts:
    """Counts what became of some clips."""
    counts = Counts()
    for row in rows:
        counts.add(row)
    return counts
