"""Which file a name in a table means."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sepcon.audio.formats import AUDIO_ENDINGS, UNREAD_ENDINGS

_ENDINGS = AUDIO_ENDINGS | UNREAD_ENDINGS
# What Freesound calls a download: number, user, title.
_FREESOUND_STEM = re.compile(r"(\d+)__.+__")


class AmbiguousNameError(Exception):
    """A name may mean several files.

    Attributes:
      paths: two of them.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(" or ".join(map(str, paths[:2])))
        self.paths = tuple(paths[:2])


class Match(NamedTuple):
    """The file that a name means.

    Attributes:
      path: of the file.
      prefix: folders of the name that the path does not have.
      ending: of the name where it is another one than that of the path.
    """

    path: Path
    prefix: tuple[str, ...] = ()
    ending: str = ""


class _File(NamedTuple):
    path: Path
    folders: tuple[str, ...]  # Relative to the root.


class FileNames:
    """Finds files by the names that tables give them.

    A name may begin with folders that the path does not have, or lack folders that the path has;
    its ending may be missing or be that of another audio format. The best match wins: first a path
    relative to the root, then a path with the folders of the root in front, then all others.

    Args:
      paths: the files.
      root: the folder that they are in.
    """

    def __init__(self, paths: Iterable[Path], root: Path) -> None:
        self._roots = {_parts(os.path.abspath(root)), _parts(os.path.realpath(root))}
        self._by_name: dict[str, list[_File]] = {}
        self._by_stem: dict[str, list[_File]] = {}
        self._by_number: dict[str, list[_File]] = {}
        for path in paths:
            *folders, name = _parts(str(path.relative_to(root)))
            file = _File(path, tuple(folders))
            self._by_name.setdefault(name, []).append(file)
            self._by_stem.setdefault(PurePosixPath(name).stem, []).append(file)
            number = _FREESOUND_STEM.match(name)
            if number:
                self._by_number.setdefault(number[1], []).append(file)

    def find(self, name: str) -> Match | None:
        """Finds the file of a name.

        Args:
          name: as it stands in a table.

        Returns:
          The file and how the name differs from it; None if there is none.

        Raises:
          AmbiguousNameError: there are several.
        """
        if not name:
            return None
        return self._find(name) or self._find(name.replace("\\", "/"))

    def find_or_none(self, name: str) -> Path | None:
        """Returns the file of a name, None if there is none or several."""
        try:
            match = self.find(name)
        except AmbiguousNameError:
            return None
        return match and match.path

    def find_segment(self, video_id: str, start: str, end: str) -> Match | None:
        """Finds the file of a segment of AudioSet.

        Args:
          video_id: of YouTube.
          start: in seconds, as text; empty if unknown.
          end: in seconds, as text; empty if unknown.

        Returns:
          The file; None if there is none.

        Raises:
          AmbiguousNameError: there are several.
        """
        try:
            stems = segment_stems(video_id, float(start), float(end))
        except ValueError:
            return None
        return next(filter(None, map(self.find, stems)), None)

    def _find(self, written: str) -> Match | None:
        parts = _parts(written)
        if not parts:
            return None
        folders, last = parts[:-1], parts[-1]
        named = self._by_name.get(last, [])
        file = (
            _only([file for file in named if file.folders == folders], written)
            or _only([file for file in named if self._is_below_root(folders, file)], written)
            or _only(self._loosely(folders, last, named), written)
        )
        if file is None:
            return None
        has_more = len(folders) > len(file.folders) and not self._is_below_root(folders, file)
        ending = _split_ending(last)[1]
        is_other = ending != file.path.suffix.casefold() and last != file.path.stem
        return Match(file.path, folders if has_more else (), ending if is_other else "")

    def _loosely(
        self, folders: tuple[str, ...], last: str, named: Sequence[_File]
    ) -> Sequence[_File]:
        """Files that a name may mean that is no path of one: all that it does not contradict."""
        same_name = [file for file in named if _agree(folders, file.folders)]
        if same_name and not folders:
            return same_name
        stems = {last, _split_ending(last)[0]}
        others = {file for stem in stems for file in self._by_stem.get(stem, ())} - {*named}
        # A file of another ending in just these folders may be meant as well.
        same_name += [file for file in others if self._is_below_root(folders, file)]
        if same_name:
            return same_name
        by_stem = [file for file in others if _agree(folders, file.folders)]
        return by_stem or ([] if folders else self._by_number.get(last, []))

    def _is_below_root(self, folders: tuple[str, ...], file: _File) -> bool:
        """Whether folders are those of a file, with or without those of the root in front."""
        return len(folders) >= len(file.folders) and any(
            _ends_with(root + file.folders, folders) for root in self._roots
        )


def segment_stems(video_id: str, start_seconds: float, end_seconds: float) -> Iterator[str]:
    """Yields the names that the file of a segment of AudioSet may have, without ending.

    Args:
      video_id: of YouTube.
      start_seconds: of the segment.
      end_seconds: of the segment.
    """
    starts, ends = _times(start_seconds), _times(end_seconds)
    for prefix in ("", "Y"):
        name = prefix + video_id
        yield from (f"{name}_{start}_{end}" for start, end in zip(starts, ends, strict=True))
        yield from (f"{name}_{start}" for start in starts)
        yield name


def _times(seconds: float) -> tuple[str, ...]:
    """A time as it stands in file names: milliseconds; seconds, plain, padded and with digits."""
    return (
        f"{round(1000 * seconds)}",
        f"{seconds:g}",
        f"{round(seconds):06d}",
        f"{seconds:.1f}",
        f"{seconds:.3f}",
    )


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the name of a path, composed letters made one, without `.` and `..`."""
    path = os.path.normpath(unicodedata.normalize("NFC", name))
    return tuple(part for part in path.split("/") if part not in ("", ".", ".."))


def _split_ending(name: str) -> tuple[str, str]:
    """Cuts off an ending of an audio format; in small letters."""
    stem, dot, ending = name.rpartition(".")
    if stem and (dot + ending).casefold() in _ENDINGS:
        return stem, (dot + ending).casefold()
    return name, ""


def _only(files: Sequence[_File], written: str) -> _File | None:
    """The one file of those that a name may mean."""
    if len(files) > 1 and len({_parts(str(file.path)) for file in files}) == 1:
        # Names that differ only in how their letters are composed are told apart by their bytes.
        exact = [file for file in files if str(file.path).endswith(written)]
        files = exact or files
    if len(files) > 1:
        raise AmbiguousNameError(sorted(file.path for file in files))
    return files[0] if files else None


def _ends_with(parts: tuple[str, ...], tail: tuple[str, ...]) -> bool:
    return not tail or parts[-len(tail) :] == tail


def _agree(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether one list of folders ends with the other: none contradicts the other."""
    return _ends_with(first, second) or _ends_with(second, first)
