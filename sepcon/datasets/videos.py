"""A folder of videos as a source of an import: clips of a few seconds, sound and frames."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.audio_folder import walk_visible
from sepcon.errors import FileError, SepconError
from sepcon.importing.clip_source import Clip, ClipReference, ClipSource, Loaded
from sepcon.video.container import VIDEO_ENDINGS, VideoError, opened, pyav, sound_seconds
from sepcon.video.decode import Pictures, decode_sound

TOO_SHORT = "too short"
# Reading a header is waiting for the disk.
_THREADS = 8


def video_folder(
    *,
    path: str,
    clip_seconds: float = 4.0,
    shortest_seconds: float = 2.0,
    pictures: int = 4,
    picture_side: int = 256,
) -> ClipSource:
    """Returns clips of the videos of a folder and of those below it, sorted by path.

    A video is cut into clips that follow each other; their original recording is the video, so that
    no split cuts one. What is kept is the sound. Taggers see frames, one at the middle of each of
    some equal parts of a clip.

    Args:
      path: the folder. Hidden files and folders are left out.
      clip_seconds: of a clip.
      shortest_seconds: of the last clip of a video, and of a whole one; the rest is left out.
      pictures: frames of a clip; 0 for none.
      picture_side: shorter side of frames in pixels; those of smaller videos stay as they are.

    Raises:
      SepconError: there is no folder or no video, a number is not as it must be, or PyAV is not
        installed.
    """
    pyav()
    if not 0 < shortest_seconds <= clip_seconds or pictures < 0 or picture_side < 2:
        raise SepconError(
            f"video_folder: clips of {clip_seconds} s, at least {shortest_seconds} s, {pictures} "
            f"pictures of {picture_side} pixels; expected 0 < shortest_seconds <= clip_seconds, 0 "
            "or more pictures, of 2 pixels or more"
        )
    root = Path(path).expanduser()
    paths, note = _find_videos(root)
    cut = _Cut(clip_seconds, shortest_seconds)
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        names = [os.path.relpath(each, root) for each in paths]
        of_videos = pool.map(lambda name: _references(root, name, cut), names)
        references = list(itertools.chain.from_iterable(of_videos))
    return ClipSource(
        root.resolve().name,
        (),
        references,
        VideoReader(root, cut, pictures, picture_side),
        note=note,
        settings=f"clips of {clip_seconds:g} s, {pictures} pictures of {picture_side} pixels",
        with_pictures=pictures > 0,
        read_sound=VideoReader(root, cut, 0, picture_side),
    )


@dataclasses.dataclass(frozen=True)
class _Cut:
    """How a video is cut. Attributes: seconds of a clip; shortest, seconds of the last one."""

    seconds: float
    shortest: float

    def count(self, seconds: float) -> int:
        """Clips of a video of so many seconds."""
        whole, rest = divmod(seconds, self.seconds)
        return int(whole) + (rest >= self.shortest)

    def part(self, audio: np.ndarray, number: int) -> np.ndarray:
        """The samples of clip `number`."""
        start = round(number * self.seconds * SAMPLE_RATE_HZ)
        return audio[start : start + round(self.seconds * SAMPLE_RATE_HZ)]


def _references(root: Path, name: str, cut: _Cut) -> Sequence[ClipReference]:
    """The clips of a video; one that is left out, where nothing can be made of it."""
    whole = ClipReference(id=name, source=name, group=name)
    try:
        count = cut.count(sound_seconds(root / name))
    except VideoError as fault:
        return [dataclasses.replace(whole, reason=fault.kind)]
    if not count:
        return [dataclasses.replace(whole, reason=TOO_SHORT)]
    return [
        dataclasses.replace(whole, id=f"{name}#{number}", row=number) for number in range(count)
    ]


def _find_videos(root: Path) -> tuple[list[Path], str]:
    """The videos below a folder, and what is to be said of what was passed over."""
    if not root.is_dir():
        raise SepconError(f"{root}: no such folder; give the folder that the videos lie in")
    errors: list[OSError] = []
    files = [path for path, is_folder in walk_visible(root, errors) if not is_folder]
    paths = sorted(path for path in files if path.suffix.lower() in VIDEO_ENDINGS)
    others = collections.Counter(
        path.suffix.lower() for path in files if path.suffix.lower() not in VIDEO_ENDINGS
    )
    notes = [f"{error.filename}: cannot be listed ({error.strerror})" for error in errors]
    if others:
        told = ", ".join(f"{count} {ending or 'no'}" for ending, count in sorted(others.items()))
        notes.append(f"passed over files of other endings: {told}")
    if not paths:
        raise SepconError(
            f"{root}: holds no video; expected files ending in {' '.join(VIDEO_ENDINGS)}, in it or "
            "in folders below" + "".join(f"; {note}" for note in notes)
        )
    return paths, "; ".join(notes)


@dataclasses.dataclass(frozen=True)
class VideoReader:
    """Reads clips of videos; of clips of one video that follow each other, its sound once.

    Attributes:
      root: the folder that `ClipReference.source` is relative to.
      cut: how videos are cut.
      pictures: frames of a clip; 0 for none.
      picture_side: of their shorter side in pixels.
    """

    root: Path
    cut: _Cut
    pictures: int
    picture_side: int

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        for source, of_video in itertools.groupby(references, lambda each: each.source):
            yield from self._read_video(self.root / source, list(of_video))

    def _read_video(self, path: Path, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        try:
            audio, start = decode_sound(path)
        except FileError as fault:
            yield from ((reference, fault) for reference in references)
            return
        with contextlib.ExitStack() as stack:
            pictures: Pictures | FileError | None = None
            if self.pictures:
                try:
                    container = stack.enter_context(opened(path))
                    pictures = Pictures(
                        container, os.fspath(path), start=start, side=self.picture_side
                    )
                except FileError as fault:
                    pictures = fault
            for reference in references:
                yield reference, self._clip(path, reference, audio, pictures)

    def _clip(
        self,
        path: Path,
        reference: ClipReference,
        audio: np.ndarray,
        pictures: Pictures | FileError | None,
    ) -> Clip | FileError:
        number = reference.row or 0
        part = self.cut.part(audio, number)
        if len(part) < round(self.cut.shortest * SAMPLE_RATE_HZ) - 1:
            return VideoError(
                "cut off",
                os.fspath(path),
                f"ends before clip {number}, of which {len(part)} samples are there",
            )
        if pictures is None or isinstance(pictures, FileError):
            return Clip(part) if pictures is None else pictures
        first, seconds = number * self.cut.seconds, len(part) / SAMPLE_RATE_HZ
        times = [first + (n + 0.5) * seconds / self.pictures for n in range(self.pictures)]
        try:
            return Clip(part, pictures.at(times))
        except FileError as fault:
            return fault
