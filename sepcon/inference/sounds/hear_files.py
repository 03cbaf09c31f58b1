"""Separates and classifies files, and writes down what was heard: tables, label files, a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcon.audio.encode import Format
from sepcon.errors import SepconError, printable
from sepcon.inference.sounds.heard import HeardRecording, hear_recording
from sepcon.inference.sounds.label_files import write_label_files
from sepcon.inference.sounds.patch_scores import PatchScorer
from sepcon.inference.sounds.segments import SegmentRule
from sepcon.inference.sounds.tables import (
    CHANNELS_FILE,
    SOUNDS_FILE,
    channel_rows,
    page_labels,
    sound_rows,
    told_lines,
)
from sepcon.runs.csv_text import csv_text
from sepcon.runs.progress import SoundProgress
from sepcon.runs.run_folder import write_text
from sepcon.separation.page import report_separated
from sepcon.separation.recording_separator import RecordingSeparator
from sepcon.separation.separate_files import separate_files


def hear_files(
    files: Sequence[str | Path],
    *,
    out: Path,
    separator: RecordingSeparator,
    format: Format,
    scorer: PatchScorer,
    rule: SegmentRule,
    top: int,
) -> list[HeardRecording]:
    """Separates recordings as `separate_files` does, and classifies mixtures and channels.

    What an earlier run has separated is not separated again, but classified. What cannot be
    separated or classified is told in one line on standard error and counted; the others go on.

    Args:
      files: recordings, and folders of them.
      out: receives the channels, sounds.csv, channels.csv, report.html, and in the folder of each
        recording its label files.
      separator: the separator.
      format: of the channels.
      scorer: the classifiers.
      rule: when a class counts as sounding.
      top: how many classes of the whole of a channel are named.

    Returns:
      What was heard, of each recording that was given.

    Raises:
      SepconError: nothing could be separated or classified, or `out` cannot be written.
    """
    separated = separate_files(files, out=out, separator=separator, format=format)
    recordings = _hear(separated.entries, out, scorer, rule)
    num_failed = len(separated.entries) - len(recordings)
    if not recordings:
        raise SepconError(f"none of {num_failed} recordings could be classified; see above")
    for recording in recordings:
        write_label_files(recording)
    write_text(out / SOUNDS_FILE, csv_text(sound_rows(recordings)))
    write_text(out / CHANNELS_FILE, csv_text(channel_rows(recordings, top)))
    labels = {str(recording.entry["folder"]): page_labels(recording) for recording in recordings}
    report_separated(out, separated.entries, labels)
    for line in (line for recording in recordings for line in told_lines(recording)):
        print(line)
    print(_summary(out, recordings, num_failed))
    return recordings


def _hear(
    entries: Sequence[Mapping[str, Any]], out: Path, scorer: PatchScorer, rule: SegmentRule
) -> list[HeardRecording]:
    """All recordings that are separated and can be classified."""
    done = [entry for entry in entries if entry["status"] == "done"]
    seconds = [entry["seconds"] * (1 + len(entry["channels"])) for entry in done]
    recordings = []
    with SoundProgress(sum(seconds), "classify") as bar:
        for entry, length in zip(done, seconds, strict=True):
            bar.begin(length, printable(os.path.basename(entry["recording"])))
            try:
                recordings.append(
                    hear_recording(entry, out, scorer=scorer, rule=rule, on_seconds=bar.advance)
                )
            except SepconError as error:
                bar.write(f"sepcon: skipped {printable(str(error))}")
            bar.finish()
    return recordings


def _summary(out: Path, recordings: Sequence[HeardRecording], num_failed: int) -> str:
    num_channels = sum(len(recording.tracks) - 1 for recording in recordings)
    num_left_out = sum(recording.num_left_out for recording in recordings)
    num_segments = sum(recording.num_segments for recording in recordings)
    return (
        f"{printable(str(out))}: {len(recordings)} recordings classified, {num_failed} failed; "
        f"{num_segments} segments, {num_left_out} of {num_channels} channels left out"
    )
