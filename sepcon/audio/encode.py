"""Writes separated channels into audio files, block by block: the counterpart of `decode`."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import soundfile

from sepcon.audio.files import AudioHeader
from sepcon.errors import one_line, write_error

Format = Literal["same", "wav", "flac"]
FORMATS = get_args(Format)

# Above this a WAV file needs 64-bit sizes, which RF64 has.
_WAV_BYTES = (1 << 32) - (1 << 20)
# What the header of a FLAC frame can say: any rate to 65,535 Hz, tens of Hz to 655,350 Hz.
_FLAC_RATES_HZ = (65_535, 655_350)
_FLAC_FULL_SCALE = 1 << 23
_FULL_DISK_BYTES = 1 << 20


def chosen_format(wanted: Format, header: AudioHeader) -> Literal["wav", "flac"]:
    """Chooses the format of the files that the channels of a recording are written to.

    Args:
      wanted: what the user asks for; "same" means WAV for a WAV recording and FLAC for all others.
      header: of the recording.

    Returns:
      The format; WAV in any case for a sample rate that FLAC does not support.
    """
    by_one, by_ten = _FLAC_RATES_HZ
    if header.rate_hz > by_one and (header.rate_hz > by_ten or header.rate_hz % 10):
        return "wav"
    if wanted != "same":
        return wanted
    return "wav" if header.container in ("WAV", "WAVEX", "RF64", "W64") else "flac"


class TrackWriter:
    """Writes several tracks of the same length into one file each, block by block.

    WAV files hold 32-bit floats, which need no clipping. FLAC files hold 24-bit integers: samples
    beyond full scale are clipped, and counted.

    Args:
      paths: a file for each track.
      rate_hz: sample rate of all tracks.
      format: of all files.
      num_samples: expected length of a track, None where it is not known: a length beyond what a
        WAV header can hold needs another kind of WAV.

    Attributes:
      num_clipped: samples that were clipped, over all tracks.
      num_samples: samples of each track written so far.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        rate_hz: int,
        format: Literal["wav", "flac"],
        num_samples: int | None,
    ) -> None:
        self.num_clipped = 0
        self.num_samples = 0
        self._format = format
        long = num_samples is None or 4 * num_samples > _WAV_BYTES
        kind, subtype = ("RF64" if long else "WAV", "FLOAT")
        if format == "flac":
            kind, subtype = "FLAC", "PCM_24"
        self._files: list[soundfile.SoundFile] = []
        self._folder = paths[0].parent
        for path in paths:
            try:
                file = soundfile.SoundFile(os.fsencode(path), "w", rate_hz, 1, subtype, None, kind)
            except (OSError, soundfile.LibsndfileError) as error:
                self.close()
                cause = self._cause(error)
                raise write_error(self._folder, cause) from cause
            self._files.append(file)

    def write(self, tracks: npt.NDArray[np.float32]) -> None:
        """Appends [track, samples] float32.

        Raises:
          WriteError: they cannot be written.
        """
        self.num_samples += tracks.shape[1]
        data = self._to_24_bits(tracks) if self._format == "flac" else tracks
        try:
            for file, track in zip(self._files, data, strict=True):
                file.write(np.ascontiguousarray(track))
        # soundfile tells of a write that fell short by an assertion.
        except (OSError, soundfile.LibsndfileError, AssertionError) as error:
            cause = self._cause(error)
            raise write_error(self._folder, cause) from cause

    def _to_24_bits(self, tracks: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        scaled = np.rint(tracks.astype(np.float64) * _FLAC_FULL_SCALE)
        held = np.clip(scaled, -_FLAC_FULL_SCALE, _FLAC_FULL_SCALE - 1)
        # One step is rounding: 1.0 itself is just beyond.
        self.num_clipped += int(np.count_nonzero(np.abs(scaled - held) > 1.0))
        return held.astype(np.int32) << 8  # libsndfile takes 24 bits left-justified in 32.

    def _cause(self, error: Exception) -> Exception:
        """What happened: libsndfile says no more than "System error.", of a full disk too."""
        if isinstance(error, OSError) or not self._folder.is_dir():
            return error
        free = shutil.disk_usage(self._folder).free
        number = errno.ENOSPC if free < _FULL_DISK_BYTES else errno.EIO
        return OSError(number, f"{one_line(error)} {free / 1e6:.1f} MB are free there")

    def close(self) -> None:
        """Finishes the files; their last samples reach the disk here.

        Raises:
          WriteError: they cannot be written.
        """
        try:
            while self._files:
                self._files.pop().close()
        except (OSError, soundfile.LibsndfileError) as error:
            cause = self._cause(error)
            raise write_error(self._folder, cause) from cause

    def __enter__(self) -> TrackWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
