"""The audio files of a folder, and what in it looks like one and is not read."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sepcon.audio.formats import AUDIO_ENDINGS, FFMPEG_LINE, UNREAD_ENDINGS, looks_like_audio
from sepcon.errors import SepconError, printable


@dataclasses.dataclass(frozen=True)
class AudioFolder:
    """The audio files in a folder and its subfolders, and the files that are left out.

    Attributes:
      paths: the audio files that can be read, sorted by path; hidden ones are left out.
      faults: path -> error in one line, for subfolders that cannot be listed, and for files that
        are named like audio files and are none.
      unread: ending in small letters, such as ".m4a" -> files of that audio format, which sepcon
        does not read.
    """

    paths: list[Path]
    faults: dict[Path, str]
    unread: Mapping[str, list[Path]] = dataclasses.field(default_factory=dict)

    def unread_formats(self) -> str:
        """Says how many files of which formats are passed over, and the cure; empty for none."""
        if not self.unread:
            return ""
        kinds = ", ".join(
            f"{len(paths)} {ending} ({paths[0].name}{', ...' if len(paths) > 1 else ''})"
            for ending, paths in sorted(self.unread.items())
        )
        count = sum(map(len, self.unread.values()))
        return (
            f"{count} files of formats that are not read here: {kinds}; convert them first, each "
            f"with {FFMPEG_LINE}"
        )


def find_audio(folder: str | Path, *, tell: bool = True) -> list[Path]:
    """Lists the audio files under `folder`, sorted by path; hidden ones are left out.

    Args:
      folder: where to look.
      tell: whether to name on standard error what is left out: folders that cannot be listed,
        files of formats that are not read.

    Raises:
      SepconError: if the folder is missing or holds no audio.
    """
    return require_audio(folder, tell=tell).paths


def require_audio(folder: str | Path, *, tell: bool = True) -> AudioFolder:
    """Lists the audio files of a folder, as `survey_audio` does; there must be at least one.

    Args:
      folder: where to look.
      tell: whether to name on standard error what is left out.

    Returns:
      What is in the folder.

    Raises:
      SepconError: if the folder is missing or holds no audio.
    """
    found = survey_audio(folder)
    left_out = [*found.faults.values()]
    if found.unread:
        left_out.append(f"{folder}: passed over {found.unread_formats()}")
    if not found.paths:
        raise SepconError(
            f"{folder}: holds no audio; expected files ending in "
            f"{' '.join(sorted(AUDIO_ENDINGS))}, in it or in folders below"
            + "".join(f"; {printable(fault)}" for fault in left_out[:3])
        )
    for fault in left_out if tell else ():
        print(f"sepcon: skipped {printable(fault)}", file=sys.stderr)
    return found


def survey_audio(folder: str | Path) -> AudioFolder:
    """Lists the audio files under `folder`, and the files that look like one and cannot be read.

    A file whose name has no ending counts as audio if its first bytes are those of an audio file.

    Args:
      folder: where to look; subfolders are searched too.

    Returns:
      What is in the folder, which may be nothing.

    Raises:
      SepconError: if the folder is missing.
    """
    root = Path(folder)
    errors: list[OSError] = []
    folders: list[Path] = []
    paths: list[Path] = []
    unread: dict[str, list[Path]] = {}
    if not root.exists():
        raise SepconError(f"{folder}: no such folder; check the path")
    if not root.is_dir():
        raise SepconError(f"{folder}: is a file; give the folder it lies in")
    for path, is_folder in walk_visible(root, errors):
        ending = path.suffix.lower()
        if ending in AUDIO_ENDINGS:
            (folders if is_folder else paths).append(path)
        elif not is_folder and ending in UNREAD_ENDINGS:
            unread.setdefault(ending, []).append(path)
        elif not is_folder and not ending and looks_like_audio(path):
            paths.append(path)
    unread = {ending: sorted(files) for ending, files in unread.items()}
    return AudioFolder(sorted(paths), _folder_faults(folders, paths, errors), unread)


def _folder_faults(
    folders: Sequence[Path], paths: Sequence[Path], errors: Sequence[OSError]
) -> dict[Path, str]:
    """What is wrong with folders, of those named like audio files and those not to be listed."""
    with_audio = {parent for path in paths for parent in path.parents}
    faults = {
        path: f"{path}: is a folder (or a link to one) that holds no audio of its own; give an "
        "audio file"
        for path in sorted(folders)
        if path not in with_audio
    }
    return faults | {
        Path(error.filename): f"{error.filename}: cannot be listed ({error.strerror}); check its "
        "rights"
        for error in errors
    }


def walk_visible(root: Path, errors: list[OSError]) -> Iterator[tuple[Path, bool]]:
    """Visits all that is not hidden, through links to folders too, each folder once.

    Yields:
      Paths below `root`, and whether each is a folder.
    """
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=errors.append):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        # In a fixed order, so that of two links to one folder it is always the same that counts.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from ((Path(folder, name), True) for name in folders)
        yield from ((Path(folder, name), False) for name in names if not name.startswith("."))
