"""The page beside separated recordings: each with its channels, to listen to and to look at."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soundfile

from sepcon.audio.files import read_header
from sepcon.errors import SepconError, printable
from sepcon.reports.labels import Labels
from sepcon.reports.page import (
    Clip,
    Section,
    audio_clip,
    linked_clip,
    write_report,
)
from sepcon.runs.json_file import told_if_damaged
from sepcon.runs.names import path_inside
from sepcon.separation.separated_folder import LIST_FILE, RECORD_FILE

REPORT_FILE = "report.html"
# What a page can hold and a person listen to.
_MAX_RECORDINGS = 12
_SHOWN_SECONDS = 30.0
# Of high rates less is shown: that many samples of all channels are in memory at a time.
_SHOWN_SAMPLES = 1 << 20
# A page with labels holds short recordings itself, so that it can be sent to others: up to so many
# samples of all of them and their channels, about 25 MB.
_HELD_SAMPLES = 1 << 24
_SUBTITLES = {
    False: "The channels of a recording sum to it, so that it is muted where they play together; "
    "spectrograms show how it begins.",
    True: "The mixture and its channels lie under each other, aligned in time, each with the "
    "classes that were found in it and their probabilities. The channels sum to the mixture, which "
    "is muted where they play together.",
}


def report_separated(
    root: Path,
    entries: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Sequence[Labels]] | None = None,
) -> None:
    """Writes the page; where that is not possible the channels are there all the same.

    Args:
      root: as `write_separation_report` takes it.
      entries: the same.
      labels: the same.
    """
    try:
        write_separation_report(root, entries, labels)
    except SepconError as error:
        print(f"sepcon: note: no {REPORT_FILE}: {error}", file=sys.stderr)


def write_separation_report(
    root: Path,
    entries: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Sequence[Labels]] | None = None,
) -> None:
    """Writes root/report.html: players of the first recordings and of their channels.

    The page links to the files and holds the spectrograms, of the first 2^20 samples or 30 seconds,
    and that beginning of recordings which browsers cannot play. With labels it holds the sounds of
    short recordings too.

    Args:
      root: the output folder.
      entries: what separated.json lists.
      labels: by the folder of an entry, what is said of the recording and then of each channel.

    Raises:
      SepconError: the libraries of the extra `report` are not installed.
    """
    done = [entry for entry in entries if entry["status"] == "done"]
    failed = [entry for entry in entries if entry["status"] == "failed"]
    sections, held_samples = [], 0
    for entry in done[:_MAX_RECORDINGS]:
        said = (labels or {}).get(entry["folder"])
        num_samples = round(entry["seconds"] * entry["sample_rate_hz"])
        whole = entry["seconds"] <= _SHOWN_SECONDS and num_samples <= _SHOWN_SAMPLES
        size = num_samples * (1 + len(entry["channels"]))
        held = said is not None and whole and held_samples + size <= _HELD_SAMPLES
        held_samples += size if held else 0
        sections.append(_section(root, entry, said, held=held))
    if failed:
        reasons = "\n".join(printable(entry["reason"]) for entry in failed)
        sections.append(Section("Not separated", code=reasons))
    shown = f"the first {_MAX_RECORDINGS} of " if len(done) > _MAX_RECORDINGS else ""
    write_report(
        root / REPORT_FILE,
        title="Separated recordings" if labels is None else "What sounds, one by one",
        subtitle=f"{shown}{len(done)} separated, {len(failed)} failed. "
        + _SUBTITLES[labels is not None],
        sections=sections,
    )


def _section(
    root: Path, entry: Mapping[str, Any], labels: Sequence[Labels] | None, *, held: bool
) -> Section:
    """A recording and its channels.

    Args:
      root: the output folder.
      entry: of the recording.
      labels: of the recording and of each channel.
      held: whether the page holds the sounds.
    """
    folder = path_inside(root, entry["folder"], source=root / LIST_FILE)
    source = folder / RECORD_FILE
    paths = [path_inside(folder, name, source=source) for name in entry["channels"]]
    channels, rate_hz = _beginnings(paths)
    mixture = np.sum(channels, axis=0)
    shown = channels.shape[1] / rate_hz
    said: list[Labels | None] = [None] * (1 + len(paths))
    if labels is not None:
        said = [_of_beginning(each, shown) for each in labels]
    clips = [_recording_clip(entry["recording"], root, mixture, rate_hz, said[0], held=held)]
    for path, channel, words in zip(paths, channels, said[1:], strict=True):
        if held:
            clips.append(audio_clip(path.stem, channel, rate_hz, words))
        else:
            link = _link(str(path.relative_to(root)))
            clips.append(linked_clip(path.stem, link, channel, rate_hz, words))
    facts = f"{entry['seconds']:g} s at {rate_hz} Hz, spectrograms of {shown:.3g} s"
    if entry["averaged_channels"] > 1:
        facts += f", mean of {entry['averaged_channels']} channels"
    heading = printable(entry["folder"])
    return Section(heading, [facts], clips=clips, together_seconds=shown)


def _of_beginning(labels: Labels, seconds: float) -> Labels:
    """What is said of the seconds that are shown; the notes stay."""
    spans = [
        dataclasses.replace(span, end_seconds=min(span.end_seconds, seconds))
        for span in labels.spans
        if span.start_seconds < seconds
    ]
    return dataclasses.replace(labels, spans=spans)


def _recording_clip(
    path: str,
    root: Path,
    mixture: np.ndarray,
    rate_hz: int,
    labels: Labels | None,
    *,
    held: bool,
) -> Clip:
    """The player of a recording, which finds it where it was.

    Where that is no more, or of a kind that not every browser plays, the page holds its beginning.
    """
    name = "recording" if labels is None else "mixture"
    if held:
        return audio_clip(name, mixture, rate_hz, labels)
    try:
        linked = read_header(path).plays_in_browsers
    except SepconError:
        linked = False
    if not linked:
        return audio_clip(f"{name} (its beginning)", mixture, rate_hz, labels)
    return linked_clip(name, _link(os.path.relpath(path, root)), mixture, rate_hz, labels)


def _beginnings(paths: Sequence[Path]) -> tuple[np.ndarray, int]:
    """What the spectrograms show of each file: [file, samples] float32, and the rate."""
    parts = []
    for path in paths:
        cure = "remove its folder, then the same command separates the recording again"
        with told_if_damaged(path, cure=cure), soundfile.SoundFile(os.fsencode(path)) as file:
            rate_hz = file.samplerate
            num_samples = min(_SHOWN_SAMPLES, round(_SHOWN_SECONDS * rate_hz))
            parts.append(file.read(num_samples, dtype="float32"))
            if parts[-1].shape != parts[0].shape:
                raise ValueError("it is not as long as the other channels")
    return np.stack(parts), rate_hz


def _link(path: str) -> str:
    # As bytes, for names that are not valid UTF-8.
    return quote(os.fsencode(path))
