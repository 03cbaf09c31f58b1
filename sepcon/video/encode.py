"""Writes videos of pictures and sound, for tests and for data sets that are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.errors import SepconError
from sepcon.runs.whole_file import whole_file
from sepcon.video.container import pyav

# Codecs of pictures and sound by the ending of a file, and the pixels that they take.
CODECS = {
    ".mp4": ("h264", "aac"),
    ".mov": ("h264", "pcm_s16le"),
    ".mkv": ("h264", "flac"),
    ".webm": ("libvpx", "libopus"),
    ".avi": ("mpeg4", "libmp3lame"),
}
_CLOCK = 90_000


@dataclasses.dataclass(frozen=True)
class VideoToWrite:
    """What a video shall hold.

    Attributes:
      pictures: uint8 [n, height, width, 3], height and width even; none for sound alone.
      times: seconds at which each picture comes.
      waveform: float32 [channels, samples] in [-1, 1]; None for no sound track.
      sample_rate_hz: of the waveform.
      layout: of its channels, as FFmpeg calls it.
      start_seconds: time of the file at which both begin.
    """

    pictures: np.ndarray
    times: Sequence[float]
    waveform: np.ndarray | None
    sample_rate_hz: int = 48000
    layout: str = "mono"
    start_seconds: float = 0.0


def write_video(path: Path, video: VideoToWrite) -> None:
    """Writes a video, whole or not at all.

    Args:
      path: its ending says the format.
      video: what it holds.

    Raises:
      SepconError: no such format is written.
      WriteError: it cannot be written.
    """
    if path.suffix not in CODECS:
        raise SepconError(f"{path}: expected a file that ends in {' '.join(CODECS)}")
    library = pyav()
    with (
        whole_file(path, durable=False) as scratch,
        library.open(str(scratch), "w", format=_format(path)) as container,
    ):
        of_pictures, of_sound = CODECS[path.suffix]
        seen = _picture_stream(container, of_pictures, video) if len(video.pictures) else None
        heard = None
        if video.waveform is not None:
            heard = container.add_stream(of_sound, rate=video.sample_rate_hz, layout=video.layout)
        if seen is not None:
            _write_pictures(container, seen, video)
        if heard is not None:
            _write_sound(container, heard, video)


def _format(path: Path) -> str:
    return {".mkv": "matroska"}.get(path.suffix, path.suffix[1:])


def _picture_stream(container: Any, codec: str, video: VideoToWrite) -> Any:
    stream = container.add_stream(codec, rate=25)
    stream.height, stream.width = video.pictures.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    stream.codec_context.time_base = Fraction(1, 25)
    if codec == "h264":
        stream.options = {"preset": "ultrafast", "crf": "18"}
    return stream


def _write_pictures(container: Any, stream: Any, video: VideoToWrite) -> None:
    library = pyav()
    # AVI counts its frames; the others have a time for each.
    clock = 25 if stream.codec_context.name == "mpeg4" else _CLOCK
    stream.codec_context.time_base = Fraction(1, clock)
    for pixels, time in zip(video.pictures, video.times, strict=True):
        frame = library.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts = round((video.start_seconds + time) * clock)
        frame.time_base = Fraction(1, clock)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_sound(container: Any, stream: Any, video: VideoToWrite) -> None:
    library = pyav()
    assert video.waveform is not None
    context, rate_hz = stream.codec_context, video.sample_rate_hz
    # In frames of the size that the encoder takes, and of its form.
    size = context.frame_size or 1024
    to_its_form = library.AudioResampler(
        format=context.format, layout=video.layout, rate=video.sample_rate_hz
    )
    for first in range(0, video.waveform.shape[1], size):
        part = np.ascontiguousarray(video.waveform[:, first : first + size], np.float32)
        frame = library.AudioFrame.from_ndarray(part, format="fltp", layout=video.layout)
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = round(video.start_seconds * rate_hz) + first
        for same in to_its_form.resample(frame):
            container.mux(stream.encode(same))
    container.mux(stream.encode(None))
