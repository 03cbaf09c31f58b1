"""The files of a folder of audio and the table that labels them."""

from __future__ import annotations

import csv
import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sepcon.audio.formats import AUDIO_ENDINGS, FFMPEG_LINE, UNREAD_ENDINGS, looks_like_audio
from sepcon.errors import SepconError, printable


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a table of labels says.

    Attributes:
      class_names: every label in the table, sorted.
      paths: the audio files it names, in their order.
      numbers: the classes of each path.
      groups: the original each file was cut from, where the table has a `source` column; by name.
      missing: names in the table that no file has, sorted.
    """

    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    numbers: tuple[tuple[int, ...], ...]
    groups: dict[str, str]
    missing: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class AudioFolder:
    """The audio files of a folder and those below it, and what could not be taken.

    Attributes:
      paths: the audio files, sorted by path; hidden ones are left out.
      faults: one-line errors, by path, of folders below it that cannot be listed, or that are named
        like audio files and hold none.
      unread: files of audio formats that cannot be read, by their ending in small letters.
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
    """Surveys a folder that must hold audio, as `find_audio` does.

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
    """Lists the audio files under `folder` and what looks like one and is not.

    A file without an ending counts where its first bytes are those of an audio file.

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
    for path, is_folder in _walk(root, errors):
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


def _walk(root: Path, errors: list[OSError]) -> Iterator[tuple[Path, bool]]:
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


def read_labels(
    table: str | Path, paths: Sequence[Path], folder: str | Path, *, allow_missing: bool = False
) -> Labels:
    """Reads a CSV of `filename,label[;label...][,source]`; a first line `filename,...` is a header.

    A file name is a path relative to `folder`, or the last part of one if only one file has it. A
    file named in several rows has the labels of all.

    Raises:
      SepconError: if the table is missing, a row is malformed or, unless `allow_missing`, names a
        file that is not there.
    """
    rows = _read_rows(Path(table))
    by_name = _names(paths, Path(folder))
    named: dict[Path, set[str]] = {}
    groups: dict[str, str] = {}
    missing: set[str] = set()
    for number, row in rows:
        path = by_name.get(row[0].strip())
        if path is None and allow_missing:
            missing.add(row[0].strip())
            continue
        if path is None:
            raise SepconError(
                f"{table}: line {number} names {row[0]!r}, which is not in {folder} (or more than "
                "once); give paths relative to that folder"
            )
        found = {label.strip() for label in row[1].split(";") if label.strip()}
        named[path] = named.get(path, set()) | found
        if len(row) > 2 and row[2].strip():
            groups[str(path.relative_to(folder))] = row[2].strip()
    class_names = tuple(sorted({label for labels in named.values() for label in labels}))
    if not class_names:
        raise SepconError(f"{table}: holds no label; expected lines of filename,label[;label...]")
    number_of = {name: number for number, name in enumerate(class_names)}
    listed = tuple(path for path in paths if path in named)
    numbers = tuple(tuple(sorted(number_of[label] for label in named[p])) for p in listed)
    return Labels(class_names, listed, numbers, groups, tuple(sorted(missing)))


def _read_rows(table: Path) -> list[tuple[int, list[str]]]:
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    except FileNotFoundError:
        raise SepconError(
            f"{table}: no such file; expected a table of filename,label[;label...]"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SepconError(f"{table}: cannot be read as a UTF-8 table ({error})") from error
    if rows and rows[0][1][0].strip().lower() == "filename":
        rows = rows[1:]
    for number, row in rows:
        if len(row) < 2:
            raise SepconError(
                f"{table}: line {number} has {len(row)} column, expected filename,label[;label...]"
            )
    return rows


def _names(paths: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Maps relative paths, and file names that occur once, to paths."""
    names: dict[str, Path] = {}
    counts: dict[str, int] = {}
    for path in paths:
        counts[path.name] = counts.get(path.name, 0) + 1
        names[path.name] = path
    names = {name: path for name, path in names.items() if counts[name] == 1}
    return names | {str(path.relative_to(folder)): path for path in paths}
