"""What was heard in recordings as tables, as lines for a terminal, and as labels for a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sepcon.errors import printable
from sepcon.inference.sounds.heard import HeardRecording, HeardTrack
from sepcon.inference.sounds.segments import Segment
from sepcon.reports.labels import Labels, Span

SOUNDS_FILE = "sounds.csv"
CHANNELS_FILE = "channels.csv"
# Of an hour nobody reads more in one line, or beside a player.
_MAX_TOLD = 8


def sound_rows(recordings: Iterable[HeardRecording]) -> list[list[str]]:
    """Returns the rows of sounds.csv, the head first: one for each segment."""
    head = ["file", "channel", "level_db", "start_seconds", "end_seconds", "class", "probability"]
    rows = [
        [
            printable(recording.path),
            track.name,
            f"{track.level_db:.1f}",
            f"{segment.start_seconds:.3f}",
            f"{segment.end_seconds:.3f}",
            printable(segment.class_name),
            f"{segment.probability:.4f}",
        ]
        for recording in recordings
        for track in recording.tracks
        for segment in track.segments
    ]
    return [head, *rows]


def channel_rows(recordings: Sequence[HeardRecording], top: int) -> list[list[str]]:
    """Returns the rows of channels.csv, the head first: of each mixture and channel.

    Args:
      recordings: what was heard, at least one.
      top: how many of the most probable classes of the whole are named, if there are so many.
    """
    count = min(top, len(recordings[0].class_names))
    head = ["file", "channel", "level_db", "seconds", "left_out", "segments"]
    for place in range(1, count + 1):
        head += [f"class_{place}", f"probability_{place}"]
    rows = [
        [
            printable(recording.path),
            track.name,
            f"{track.level_db:.1f}",
            f"{recording.entry['seconds']:.3f}",
            "yes" if track.probabilities is None else "no",
            str(len(track.segments)),
            *_top_cells(track, recording.class_names, count),
        ]
        for recording in recordings
        for track in recording.tracks
    ]
    return [head, *rows]


def told_lines(recording: HeardRecording) -> Iterator[str]:
    """Yields a line for the mixture and for each channel, for people at a terminal."""
    for track in recording.tracks:
        said = "; ".join(_notes(track, recording))
        yield f"{printable(recording.path)} {track.name}: {said}"


def page_labels(recording: HeardRecording) -> list[Labels]:
    """Returns what the page says of the mixture and of each channel."""
    return [
        Labels(
            _notes(track, recording),
            [
                Span(
                    segment.start_seconds,
                    segment.end_seconds,
                    segment.class_name,
                    _named(segment),
                )
                for segment in track.segments
            ],
        )
        for track in recording.tracks
    ]


def _notes(track: HeardTrack, recording: HeardRecording) -> list[str]:
    """What there is to say of a track: its segments, or why it has none; and its level."""
    level = "" if track.level_db == -np.inf else f"level {track.level_db:.1f} dB"
    if track.probabilities is None:
        quiet = (
            "silent"
            if not level
            else f"{level}, too quiet (below {recording.rule.min_level_db:g} dB)"
        )
        return [f"left out: {quiet}"]
    if not track.segments:
        best = int(np.argmax(track.probabilities))
        name = printable(recording.class_names[best])
        return [f"no segment; most probable: {name} {track.probabilities[best]:.2f}", level]
    told = [
        f"{_named(segment)} ({segment.start_seconds:.1f} to {segment.end_seconds:.1f} s)"
        for segment in track.segments[:_MAX_TOLD]
    ]
    more = len(track.segments) - len(told)
    return [*told, *([f"{more} more in {SOUNDS_FILE}"] if more else []), level]


def _named(segment: Segment) -> str:
    return f"{printable(segment.class_name)} {segment.probability:.2f}"


def _top_cells(track: HeardTrack, names: Sequence[str], count: int) -> list[str]:
    """Names and probabilities of the most probable classes; empty of what is left out."""
    if track.probabilities is None:
        return [""] * (2 * count)
    order = np.argsort(-track.probabilities, kind="stable")[:count]
    return [
        text
        for number in order
        for text in (printable(names[number]), f"{track.probabilities[number]:.4f}")
    ]
