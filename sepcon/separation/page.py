"""The page beside separated recordings: each with its channels, to listen to and to look at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soundfile

from sepcon.audio.files import read_header
from sepcon.errors import SepconError, printable
from sepcon.reports.page import Clip, Section, audio_clip, linked_clip, write_report
from sepcon.runs.json_file import told_if_damaged
from sepcon.runs.names import path_inside
from sepcon.separation.separated_folder import LIST_FILE, RECORD_FILE

REPORT_FILE = "report.html"
# What a page can hold and a person listen to.
_MAX_RECORDINGS = 12
_SHOWN_SECONDS = 30.0
# Of high rates less is shown: that many samples of all channels are in memory at a time.
_SHOWN_SAMPLES = 1 << 20


def write_separation_report(root: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Writes root/report.html: players of the first recordings and of their channels.

    The page links to the files and holds the spectrograms, of the first 2^20 samples or 30 seconds,
    and that beginning of recordings which browsers cannot play.

    Args:
      root: the output folder.
      entries: what separated.json lists.

    Raises:
      SepconError: the libraries of the extra `report` are not installed.
    """
    done = [entry for entry in entries if entry["status"] == "done"]
    failed = [entry for entry in entries if entry["status"] == "failed"]
    sections = [_section(root, entry) for entry in done[:_MAX_RECORDINGS]]
    if failed:
        reasons = "\n".join(printable(entry["reason"]) for entry in failed)
        sections.append(Section("Not separated", code=reasons))
    shown = f"the first {_MAX_RECORDINGS} of " if len(done) > _MAX_RECORDINGS else ""
    write_report(
        root / REPORT_FILE,
        title="Separated recordings",
        subtitle=f"{shown}{len(done)} separated, {len(failed)} failed. The channels of a recording "
        "sum to it, so that it is muted where they play together; spectrograms show how it begins.",
        sections=sections,
    )


def _section(root: Path, entry: Mapping[str, Any]) -> Section:
    folder = path_inside(root, entry["folder"], source=root / LIST_FILE)
    source = folder / RECORD_FILE
    paths = [path_inside(folder, name, source=source) for name in entry["channels"]]
    channels, rate_hz = _beginnings(paths)
    mixture = np.sum(channels, axis=0)
    clips = [_recording_clip(entry["recording"], root, mixture, rate_hz)]
    for path, channel in zip(paths, channels, strict=True):
        link = _link(str(path.relative_to(root)))
        clips.append(linked_clip(path.stem, link, channel, rate_hz))
    shown = channels.shape[1] / rate_hz
    facts = f"{entry['seconds']:g} s at {rate_hz} Hz, spectrograms of {shown:.3g} s"
    if entry["averaged_channels"] > 1:
        facts += f", mean of {entry['averaged_channels']} channels"
    heading = printable(entry["folder"])
    return Section(heading, [facts], clips=clips, together_seconds=shown)


def _recording_clip(path: str, root: Path, mixture: np.ndarray, rate_hz: int) -> Clip:
    """The player of a recording, which finds it where it was.

    Where that is no more, or of a kind that not every browser plays, the page holds its beginning.
    """
    try:
        linked = read_header(path).plays_in_browsers
    except SepconError:
        linked = False
    if not linked:
        return audio_clip("recording (its beginning)", mixture, rate_hz)
    return linked_clip("recording", _link(os.path.relpath(path, root)), mixture, rate_hz)


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
