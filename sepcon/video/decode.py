"""The sound of a video, and its frames at given times, on one clock.

Times are seconds after the sound track begins. Both tracks have the times of the file, so that what
is seen at a time is heard at that time, whether or not the file begins at 0.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from sepcon.audio.samples import SAMPLE_RATE_HZ, to_int16
from sepcon.video.container import (
    VideoError,
    last_time,
    opened,
    picture_stream,
    pyav,
    sound_stream,
    told_seconds,
)

# A hole in the times of the sound, or an overlap, that is more than rounding.
_GAP_SECONDS = 0.05
_LONGEST_GAP_SECONDS = 60.0
# What may be missing at the end against what the file says: an encoder's frame, and rounding.
_SLACK_SECONDS, _SLACK_SHARE = 0.5, 0.02
# A picture that is further from a wanted time than this is not the one of that time.
_FARTHEST_SECONDS = 1.0


def decode_sound(path: str | Path) -> tuple[np.ndarray, float]:
    """Decodes the first sound track of a video, to its last sample.

    Channels are averaged, as in all files of sound here. A hole in the track is silence.

    Args:
      path: the video.

    Returns:
      int16 [samples] at 16 kHz, and the time of the file at which they begin, in seconds.

    Raises:
      VideoError: it cannot be used, has no sound track, or less of it than it says.
    """
    name = os.fspath(path)
    with opened(path) as container:
        stream = sound_stream(container, name)
        stream.thread_type = "SLICE"
        told = told_seconds(stream)
        of_file = (container.duration or 0) / pyav().time_base
        track = _Track(name)
        # The decoder is flushed at the end of the file.
        for frame in container.decode(stream):
            track.add(frame)
    audio, seconds = track.finish()
    if not told and _falls_short(seconds, of_file):
        # The other tracks may be longer than the sound.
        told = of_file if _falls_short(_last_time(path), of_file) else 0.0
    if _falls_short(seconds, told):
        raise VideoError(
            "cut off",
            name,
            f"holds {seconds:.2f} s of sound, says {told:.2f} s; give the video again",
        )
    return audio, track.start


def _falls_short(seconds: float, told: float) -> bool:
    return seconds < told - max(_SLACK_SECONDS, _SLACK_SHARE * told)


def _last_time(path: str | Path) -> float:
    with opened(path) as container:
        return last_time(container)


class _Track:
    """A sound track while it is decoded: resampled frame by frame, as films are long.

    Args:
      name: of the file, for messages.

    Attributes:
      start: the time of the file at which it begins, in seconds.
    """

    def __init__(self, name: str) -> None:
        self.start = 0.0
        self._name = name
        self._to_float = pyav().AudioResampler(format="fltp")
        self._rate_hz, self._count = 0, 0
        self._resampler: Any = None
        self._parts: list[np.ndarray] = []

    def add(self, frame: Any) -> None:
        """Adds a decoded frame of any layout."""
        if not self._rate_hz:
            self._rate_hz, self.start = frame.sample_rate, float(frame.time or 0.0)
            self._resampler = soxr.ResampleStream(
                self._rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ"
            )
        if frame.sample_rate != self._rate_hz:
            raise VideoError("damaged", self._name, "changes its sample rate; convert it to one")
        expected = self.start + self._count / self._rate_hz
        gap = 0.0 if frame.time is None else frame.time - expected
        if _GAP_SECONDS < gap < _LONGEST_GAP_SECONDS:
            self._append(np.zeros(round(gap * self._rate_hz), np.float32))
        for same in self._to_float.resample(frame):
            self._append(same.to_ndarray().mean(axis=0))

    def _append(self, waveform: np.ndarray) -> None:
        self._count += len(waveform)
        self._parts.append(to_int16(self._resampler.resample_chunk(waveform)))

    def finish(self) -> tuple[np.ndarray, float]:
        """Returns all of it, int16 [samples] at 16 kHz, and its seconds at its own rate."""
        if not self._count:
            raise VideoError(
                "cut off", self._name, "holds nothing of its sound track; give it again"
            )
        rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._parts.append(to_int16(rest))
        return np.concatenate(self._parts), self._count / self._rate_hz


class Pictures:
    """The frames of an open video by time.

    Args:
      container: of PyAV.
      name: of the file, for messages.
      start: the time of the file that is time 0 here.
      side: of the shorter side of what is returned, in pixels; smaller frames stay as they are.
    """

    def __init__(self, container: Any, name: str, *, start: float, side: int) -> None:
        self._container, self._name, self._side = container, name, side
        self._start = start
        self._stream = picture_stream(container, name)
        # All cores are busy with other clips.
        self._stream.thread_type = "SLICE"

    def at(self, times: Sequence[float]) -> np.ndarray:
        """Returns the frames nearest to some times.

        Args:
          times: seconds, in their order.

        Returns:
          uint8 [n, height, width, 3] RGB, upright; fewer than times where the pictures end before
          the sound, or begin after it.

        Raises:
          VideoError: there is no picture near any of them.
        """
        wanted = [self._start + time for time in times]
        nearest = self._nearest(wanted)
        kept = [
            frame
            for time, frame in zip(wanted, nearest, strict=True)
            if frame is not None and abs(frame.time - time) <= _FARTHEST_SECONDS
        ]
        if not kept:
            raise VideoError(
                "no pictures",
                self._name,
                f"has no picture at {times[0]:.2f} to {times[-1]:.2f} s of its sound",
            )
        return np.stack([self._pixels(frame) for frame in kept])

    def _nearest(self, wanted: Sequence[float]) -> list[Any]:
        """Goes through the frames once, from the key frame before the first wanted time on."""
        self._container.seek(
            max(0, int(wanted[0] / self._stream.time_base)), stream=self._stream, backward=True
        )
        found: list[Any] = []
        before = None
        for frame in self._container.decode(self._stream):
            if frame.time is None:
                continue
            while len(found) < len(wanted) and frame.time >= wanted[len(found)]:
                time = wanted[len(found)]
                is_nearer = before is None or frame.time - time < time - before.time
                found.append(frame if is_nearer else before)
            if len(found) == len(wanted):
                return found
            before = frame
        # The pictures have ended.
        return found + [before] * (len(wanted) - len(found))

    def _pixels(self, frame: Any) -> np.ndarray:
        shrink = min(1.0, self._side / min(frame.width, frame.height))
        width, height = (max(1, round(shrink * size)) for size in (frame.width, frame.height))
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
        # The file says by how much it is to be turned for a viewer, counterclockwise.
        return np.rot90(pixels, round(frame.rotation / 90))
