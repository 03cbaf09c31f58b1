r"""What was heard in a recording as files that other tools open: Audacity and Raven.

Audacity imports a label track as lines of start, tab, end, tab, text, both times in seconds
(Audacity Manual, "Importing and Exporting Labels"). A selection table of Raven is a table with tabs
whose head names Selection, View, Channel, Begin Time (s), End Time (s), Low Freq (Hz) and
High Freq (Hz); further columns are annotations. Both are UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sepcon.errors import printable
from sepcon.inference.sounds.heard import HeardRecording, HeardTrack
from sepcon.inference.sounds.segments import Segment
from sepcon.runs.run_folder import write_text

AUDACITY_FILE = "audacity_labels.txt"
RAVEN_FILE = "raven_selections.txt"
_RAVEN_HEAD = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Separated Channel",
    "Class",
    "Score",
)


def write_label_files(recording: HeardRecording) -> None:
    """Writes both files into the folder of the recording's channels.

    Raises:
      WriteError: they cannot be written.
    """
    write_text(recording.folder / AUDACITY_FILE, audacity_labels(recording))
    write_text(recording.folder / RAVEN_FILE, raven_selections(recording))


def audacity_labels(recording: HeardRecording) -> str:
    """Returns a label track with all segments of the mixture and the channels."""
    return _table(
        (
            f"{segment.start_seconds:.6f}",
            f"{segment.end_seconds:.6f}",
            f"{track.name}: {segment.class_name} {segment.probability:.2f}",
        )
        for track, segment in _segments(recording)
    )


def raven_selections(recording: HeardRecording) -> str:
    """Returns a selection table with all segments of the mixture and the channels.

    Raven's own channel is that of the recording's file, where 1 is always there; which separated
    channel it was stands in a column of its own. The frequencies are all that the file has.
    """
    highest_hz = f"{recording.entry['sample_rate_hz'] / 2:.1f}"
    rows = (
        (
            str(number),
            "Spectrogram 1",
            "1",
            f"{segment.start_seconds:.6f}",
            f"{segment.end_seconds:.6f}",
            "0.0",
            highest_hz,
            track.name,
            segment.class_name,
            f"{segment.probability:.4f}",
        )
        for number, (track, segment) in enumerate(_segments(recording), start=1)
    )
    return _table([_RAVEN_HEAD]) + _table(rows)


def _segments(recording: HeardRecording) -> Iterator[tuple[HeardTrack, Segment]]:
    return ((track, segment) for track in recording.tracks for segment in track.segments)


def _table(rows: Iterable[Iterable[str]]) -> str:
    """Lines of cells, in which tabs and line breaks of names stand escaped."""
    return "".join("\t".join(map(printable, row)) + "\n" for row in rows)
