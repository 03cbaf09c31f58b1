"""Video files as they are: what a file says of itself, and what is wrong with it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from sepcon.errors import FileError, SepconError, one_line

VIDEO_ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
FaultKind = Literal["missing", "unreadable", "empty", "not a video", "cut off", "damaged"]
# What is wrong with files that are no worse for it: there is nothing to hear or to see in them.
Lack = Literal["no sound track", "no pictures"]
FAULT_KINDS = get_args(FaultKind)


class VideoError(FileError):
    """A video cannot be used. Its `kind` is one of `FAULT_KINDS`, or a `Lack`."""

    kind: FaultKind | Lack

    def __init__(self, kind: FaultKind | Lack, path: str, detail: str) -> None:
        super().__init__(kind, path, detail)


def pyav() -> ModuleType:
    """Imports PyAV, which decodes.

    Raises:
      SepconError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise SepconError(
            "videos are decoded by PyAV, which is not installed: pip install 'sepcon[video]'"
        ) from error
    # What FFmpeg says of a file is said by the exceptions too, and there by its name.
    av.logging.set_level(av.logging.PANIC)
    return av


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """Opens a file and gives its container; turns what PyAV raises into a `VideoError`."""
    library, name = pyav(), os.fspath(path)
    try:
        if not os.path.getsize(path):
            raise VideoError("empty", name, "is empty; give the video again")
        with library.open(name, metadata_errors="replace") as container:
            yield container
    except FileNotFoundError as error:
        raise VideoError("missing", name, "no such file; check the path") from error
    except library.error.InvalidDataError as error:
        raise _invalid(name, error) from error
    except library.error.EOFError as error:
        raise VideoError("cut off", name, "ends too early; give the video again") from error
    # PyAV's errors are those of the system, and others where a decoder stumbles.
    except (OSError, ValueError, library.error.FFmpegError) as error:
        raise VideoError(
            "unreadable", name, f"cannot be read ({one_line(error)}); check the file and its rights"
        ) from error


def _invalid(name: str, error: BaseException) -> VideoError:
    with open(name, "rb") as file:
        start = file.read(12)
    # MP4 and MOV, Matroska and WebM, AVI.
    known = start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
    known = (
        known or start[:4] == b"\x1a\x45\xdf\xa3" or (start[:4], start[8:]) == (b"RIFF", b"AVI ")
    )
    if known:
        return VideoError(
            "damaged", name, f"is damaged or cut off ({one_line(error)}); give the video again"
        )
    return VideoError("not a video", name, "holds no video; give a video, or convert it")


def sound_seconds(path: str | Path) -> float:
    """Returns how long the sound of a video is by what it says of itself, without decoding.

    Raises:
      VideoError: it cannot be used, or has no sound track.
    """
    with opened(path) as container:
        return _sound_seconds(container, sound_stream(container, os.fspath(path)))


def sound_stream(container: Any, name: str) -> Any:
    """Returns the first sound track.

    Raises:
      VideoError: there is none.
    """
    if not container.streams.audio:
        raise VideoError("no sound track", name, "has no sound track")
    return container.streams.audio[0]


def picture_stream(container: Any, name: str) -> Any:
    """Returns the first track of pictures that is no cover.

    Raises:
      VideoError: there is none.
    """
    streams = [each for each in container.streams.video if not _is_cover(each)]
    if not streams:
        raise VideoError("no pictures", name, "has no pictures")
    return streams[0]


def _is_cover(stream: Any) -> bool:
    """Whether a track is a single picture that players show in the place of a video."""
    return bool(stream.disposition & pyav().stream.Disposition.attached_pic)


def _sound_seconds(container: Any, sound: Any) -> float:
    if told := told_seconds(sound):
        return told
    # A recording of a browser says nothing: its packets do.
    return last_time(container, sound) - _begin(sound)


def told_seconds(stream: Any) -> float:
    """Returns the length of a track by what the file says of it; 0 where it says nothing."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska says in a tag when it ends.
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    if found is None:
        return 0.0
    hours, minutes, seconds = map(float, found.groups())
    return 3600 * hours + 60 * minutes + seconds - _begin(stream)


def _begin(stream: Any) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def last_time(container: Any, *streams: Any) -> float:
    """Returns the time of the file at which the last packet of some tracks ends; all by default."""
    ends = [
        float((packet.pts + (packet.duration or 0)) * packet.time_base)
        for packet in container.demux(*streams)
        if packet.pts is not None
    ]
    return max(ends, default=0.0)
