"""Separates audio files of any format and length into one file for each channel."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.audio.encode import Format, TrackWriter, chosen_format
from sepcon.audio.files import open_audio, read_header
from sepcon.data.audio_folder import survey_audio
from sepcon.errors import SepconError, WriteError, printable
from sepcon.runs.progress import SoundProgress
from sepcon.runs.run_folder import write_text
from sepcon.separation.recording_separator import NotFiniteError, RecordingSeparator
from sepcon.separation.separated_folder import RECORD_FILE, SeparatedFolder, identity_of, is_output


@dataclasses.dataclass(frozen=True)
class Found:
    """A recording to separate.

    Attributes:
      path: absolute.
      name: of its folder in the output, relative.
    """

    path: Path
    name: Path


@dataclasses.dataclass(frozen=True)
class SeparatedFiles:
    """What became of recordings.

    Attributes:
      root: the output folder.
      entries: of the recordings that were given, one each, as separated.json has them: 'status' is
        'done' or 'failed'.
      listed: all that separated.json lists: those of earlier runs too.
    """

    root: Path
    entries: list[dict[str, Any]]
    listed: list[dict[str, Any]]


def separate_files(
    files: Sequence[str | Path],
    *,
    out: Path,
    separator: RecordingSeparator,
    format: Format = "same",
) -> SeparatedFiles:
    """Separates recordings into out/<path below the given folder>/channel_<n>.{wav,flac}.

    The channels have the sample rate of the recording and sum to the mean of its channels within
    rounding. A recording that cannot be separated is reported in one line on standard error,
    counted and listed in out/separated.json, and the others are separated. Recordings that an
    earlier run has finished are not separated again.

    Args:
      files: recordings, and folders of them.
      out: receives everything.
      separator: the separator.
      format: of the channels; "same" is WAV for WAV and FLAC for all others.

    Raises:
      SepconError: no recording could be separated, or `out` cannot be written.
    """
    folder = SeparatedFolder(
        out,
        {
            "separator": separator.fingerprint,
            "step": separator.step,
            "format": format,
            "window_seconds": separator.window_seconds,
        },
    )
    found, faults = _find(files)
    run = _Run(
        folder, separator, format, [_failed(path, reason) for path, reason in faults.items()]
    )
    try:
        run.separate(found)
    finally:
        listed = folder.write_list(run.entries)
    failed = sum(entry["status"] == "failed" for entry in run.entries)
    num_done = len(run.entries) - failed
    if not num_done:
        raise SepconError(f"none of {failed} recordings could be separated; see the lines above")
    again = f" ({run.num_skipped} by an earlier run)" if run.num_skipped else ""
    print(f"{printable(str(out))}: {num_done} recordings separated{again}, {failed} failed")
    return SeparatedFiles(out, run.entries, listed)


def _find(files: Sequence[str | Path]) -> tuple[list[Found], dict[Path, str]]:
    """All recordings, each once, and why other paths cannot be one."""
    found: dict[Path, Found] = {}
    faults: dict[Path, str] = {}
    for given in files:
        root = Path(os.path.abspath(Path(given).expanduser()))
        if not root.is_dir():
            found.setdefault(root, Found(root, Path(root.name)))
            continue
        survey = survey_audio(root)
        paths = [path for path in survey.paths if not is_output(path.parent)]
        unread = survey.unread_formats()
        if not paths and not survey.faults:
            faults[root] = f"{root}: holds no audio; {unread or 'give a folder of recordings'}"
        elif unread:
            print(_line(f"{root}: passed over {unread}"), file=sys.stderr)
        faults |= survey.faults
        for path in paths:
            found.setdefault(path, Found(path, path.relative_to(root)))
    for reason in faults.values():
        print(_line(reason), file=sys.stderr)
    return list(found.values()), faults


def _failed(path: Path, reason: str) -> dict[str, Any]:
    return {"recording": str(path), "status": "failed", "reason": reason}


def _line(reason: str) -> str:
    return f"sepcon: skipped {printable(reason)}"


class _Run:
    """What a run has done so far.

    Attributes: entries, of all recordings; num_skipped, how many an earlier run has done.
    """

    def __init__(
        self,
        folder: SeparatedFolder,
        separator: RecordingSeparator,
        format: Format,
        entries: list[dict[str, Any]],
    ) -> None:
        self.entries = entries
        self.num_skipped = 0
        self._folder, self._separator, self._format = folder, separator, format

    def separate(self, found: Sequence[Found]) -> None:
        """Separates what is not done yet; `entries` grows on the way."""
        seconds = [_seconds(recording.path) for recording in found]
        places = [self._folder.place(recording.path, recording.name) for recording in found]
        with SoundProgress(sum(seconds), "separate") as bar:
            for recording, place, length in zip(found, places, seconds, strict=True):
                bar.begin(length, printable(recording.path.name))
                try:
                    self.entries.append(self._one(recording.path, place, bar))
                except WriteError:
                    raise  # The disk is full or gone, and would be for the next recording too.
                except SepconError as error:
                    bar.write(_line(str(error)))
                    self.entries.append(_failed(recording.path, str(error)))
                bar.finish()

    def _one(self, path: Path, place: Path, bar: SoundProgress) -> dict[str, Any]:
        """Separates one recording, if it is not separated; returns its entry in the list."""
        record = self._folder.record(path, place)
        if record is None:
            with self._folder.filling(place) as scratch:
                record = self._write_channels(path, scratch, bar)
                write_text(scratch / RECORD_FILE, json.dumps(record, indent=1) + "\n")
        else:
            self.num_skipped += 1
        own = {"status": "done", "folder": str(place)}
        # The two are ours, whatever the file of an earlier run says.
        return {**own, **record, **own}

    def _write_channels(self, path: Path, scratch: Path, bar: SoundProgress) -> dict[str, Any]:
        """Decodes, separates and writes block by block; returns the record."""
        with open_audio(path) as (header, blocks):
            identity, format = identity_of(path), chosen_format(self._format, header)
            names = [f"channel_{n}.{format}" for n in range(self._separator.num_sources)]
            writer = TrackWriter(
                [scratch / name for name in names],
                rate_hz=header.rate_hz,
                format=format,
                num_samples=header.num_frames,
            )
            # Floats may be so large that their mean overflows: what comes out is looked at.
            with writer, np.errstate(over="ignore", invalid="ignore"):
                try:
                    for part in self._separator.stream(blocks, sample_rate_hz=header.rate_hz):
                        writer.write(part)
                        bar.advance(part.shape[1] / header.rate_hz)
                except NotFiniteError as error:
                    raise SepconError(f"{path}: {error}") from error
        if writer.num_clipped:
            bar.write(
                f"sepcon: note: {printable(str(path))}: {writer.num_clipped} samples of its "
                "channels are beyond full scale and held there; --format=wav keeps them"
            )
        return {
            **identity,
            "sample_rate_hz": header.rate_hz,
            "averaged_channels": header.num_channels,
            "seconds": round(writer.num_samples / header.rate_hz, 3),
            "channels": names,
            "clipped_samples": writer.num_clipped,
        }


def _seconds(path: Path) -> float:
    """How long a recording says it is; 0 where it does not say, or is none: that is told later."""
    try:
        header = read_header(path)
    except SepconError:
        return 0.0
    return (header.num_frames or 0) / header.rate_hz
