"""AudioSet as its segment CSVs beside a folder of audio, under any of the usual file names."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sepcon.data.audio_folder import find_audio
from sepcon.data.label_tables.file_names import segment_stems
from sepcon.datasets.audioset.classes import AudioSetClasses, read_classes
from sepcon.errors import SepconError, refuse_pipe
from sepcon.importing.clip_source import (
    MISSING,
    NO_KNOWN_LABEL,
    ClipReference,
    ClipSource,
    FileReader,
    without_duplicates,
)


class Segment(NamedTuple):
    """A row of a segment CSV."""

    video_id: str
    start_seconds: float
    end_seconds: float
    mids: tuple[str, ...]


def audioset_segments(*, segments_csv: str, audio_dir: str, classes_csv: str) -> ClipSource:
    """Returns the clips of one segment CSV of AudioSet.

    A clip is called by its YouTube id. Its file may lie in any folder below `audio_dir` and be
    of any format, called `ID`, or `ID_START` or `ID_START_END` with times in seconds or in
    milliseconds, all with or without a `Y` in front. The fold is the name of the CSV without
    `_segments`.

    Args:
      segments_csv: such as `eval_segments.csv`.
      audio_dir: where the audio is.
      classes_csv: `class_labels_indices.csv`.

    Raises:
      SepconError: a table is not what it should be, or there is no audio.
    """
    table, root = Path(segments_csv).expanduser(), Path(audio_dir).expanduser()
    classes = read_classes(Path(classes_csv).expanduser())
    files = _by_stem(root)
    fold = table.stem.removesuffix("_segments")
    references = without_duplicates(
        _reference(segment, fold, classes, files) for segment in read_segments(table)
    )
    used = {reference.source for reference in references}
    others = sum(path not in used for path in files.values())
    return ClipSource(
        name=f"audioset_{fold}",
        class_names=classes.names,
        references=references,
        read=FileReader(root),
        note=f"{others} audio files in {root} are not of {table.name}" if others else "",
    )


def read_segments(table: Path) -> Iterator[Segment]:
    """Yields the rows of a segment CSV; comments begin with `# `.

    Raises:
      SepconError: it is missing, or a row is malformed.
    """
    try:
        refuse_pipe(table)
        with open(table, newline="", encoding="utf-8-sig") as file:
            # Without skipinitialspace the quotes of ` "mid,mid"` would not be quotes.
            reader = csv.reader(file, skipinitialspace=True)
            for row in reader:
                if row and not row[0].startswith("#"):
                    yield _segment(table, reader.line_num, row)
    except FileNotFoundError:
        raise SepconError(
            f"{table}: no such file; give a segment CSV of AudioSet, such as eval_segments.csv"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SepconError(f"{table}: cannot be read as a UTF-8 table ({error})") from error


def _segment(table: Path, line: int, row: list[str]) -> Segment:
    try:
        video_id, start, end, labels = row
        mids = tuple(mid.strip() for mid in labels.split(",") if mid.strip())
        segment = Segment(video_id.strip(), float(start), float(end), mids)
        if not segment.video_id or not 0 <= segment.start_seconds < segment.end_seconds:
            raise ValueError
    except ValueError:
        raise SepconError(
            f"{table}: line {line} is {','.join(row)!r}, expected "
            'ID, start_seconds, end_seconds, "mid,mid"'
        ) from None
    return segment


def _by_stem(root: Path) -> dict[str, str]:
    """Maps file names without their ending to paths relative to `root`; the first of two counts."""
    files: dict[str, str] = {}
    for path in find_audio(root):
        files.setdefault(path.stem, os.path.relpath(path, root))
    return files


def _reference(
    segment: Segment, fold: str, classes: AudioSetClasses, files: dict[str, str]
) -> ClipReference:
    source = next((files[stem] for stem in segment_stems(*segment[:3]) if stem in files), "")
    labels, unknown = classes.encode(segment.mids)
    reason = "" if labels else NO_KNOWN_LABEL
    return ClipReference(
        id=segment.video_id,
        source=source,
        labels=labels,
        unknown_labels=unknown,
        fold=fold,
        reason=reason if source else MISSING,
    )
