"""Videos of flashes and clicks, and all that can be odd or wrong with a file."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sepcon.video.encode import VideoToWrite, write_video

RATE_HZ = 48000
# Left and right of a landscape picture.
LEFT, RIGHT = (200, 30, 30), (30, 30, 200)


def picture(level: int, *, height: int = 48, width: int = 64) -> np.ndarray:
    """Of one grey, uint8 [height, width, 3]."""
    return np.full((height, width, 3), level, np.uint8)


def noise(seconds: float, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (channels, round(seconds * RATE_HZ))
    return (0.1 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def flash_and_click(
    at: Sequence[float], *, seconds: float = 4.0, times: Sequence[float] | None = None, **settings
) -> VideoToWrite:
    """Dark pictures and silence, but for a white picture and a click at some times.

    By default 25 pictures a second; a flash is the picture that comes nearest to its time.
    """
    times = np.arange(0, seconds, 0.04) if times is None else np.asarray(times)
    flashes = {int(np.abs(times - time).argmin()) for time in at}
    pictures = np.stack([picture(255 if n in flashes else 10) for n in range(len(times))])
    waveform = np.zeros((1, round(seconds * RATE_HZ)), np.float32)
    for time in at:
        start = round(time * RATE_HZ)
        waveform[:, start : start + 480] = 0.9 * np.sin(np.arange(480) * 0.4)
    return VideoToWrite(pictures, list(times), waveform, RATE_HZ, **settings)


def plain(seconds: float = 4.0, *, level: int = 100, seed: int = 0, **settings) -> VideoToWrite:
    """Noise, and pictures of one grey, five a second."""
    times = list(np.arange(0, seconds, 0.2))
    pictures = np.stack([picture(level)] * len(times))
    return VideoToWrite(pictures, times, noise(seconds, seed=seed), RATE_HZ, **settings)


def turned(path: Path) -> None:
    """Has an MP4 file say that its pictures are to be turned clockwise by 90 degrees."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


def write_video_folder(root: Path) -> dict[str, str]:
    """A folder with all that can be odd; returns the reason of what is left out, "" of the rest."""
    good = plain(5.0)
    (root / "a").mkdir(parents=True)
    write_video(root / "a" / "good.mp4", good)
    write_video(root / "good.mkv", good)
    write_video(root / "short.mp4", plain(1.0))
    write_video(root / "mute.mp4", VideoToWrite(good.pictures, good.times, None))
    silent = VideoToWrite(good.pictures, good.times, np.zeros_like(good.waveform), RATE_HZ)
    write_video(root / "silent.mp4", silent)
    cut = (root / "good.mkv").read_bytes()
    (root / "cut.mkv").write_bytes(cut[: len(cut) // 2])
    whole = (root / "a" / "good.mp4").read_bytes()
    (root / "no_index.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "empty.webm").write_bytes(b"")
    (root / "text.avi").write_text("<html>not found</html>" * 9)
    (root / "notes.txt").write_text("nothing")
    return {
        "a/good.mp4": "",
        "cut.mkv": "cut off",
        "empty.webm": "empty",
        "good.mkv": "",
        "mute.mp4": "no sound track",
        "no_index.mp4": "damaged",
        "short.mp4": "too short",
        "silent.mp4": "silent",
        "text.avi": "not a video",
    }
