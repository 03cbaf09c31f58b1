"""What a tagger is: it has classes, a digest, and scores for a clip."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from sepcon.errors import SepconError, one_line
from sepcon.importing.clip_source import Clip
from sepcon.importing.tagger_note import TaggerNote

Sees = Literal["sound", "pictures"]
# Columns of a table of classes that may hold their names.
_NAME_COLUMNS = ("display_name", "name", "class_name", "label")


class Tagger(Protocol):
    """Says of a clip which classes it may hold.

    It is sent to other processes, and therefore opens its model when it is first used.
    """

    @property
    def name(self) -> str:
        """What its scores are called by; letters, digits and underscores."""

    @property
    def sees(self) -> Sees:
        """What of a clip it looks at."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the columns of its scores."""

    @property
    def digest(self) -> str:
        """Hexadecimal, of its weights and of all else that decides its scores."""

    @property
    def rule(self) -> str:
        """How it goes through a clip, in words."""

    def scores(self, clip: Clip) -> np.ndarray:
        """Returns float32 [frames, classes], for each window or picture how likely a class is."""


def note_of(tagger: Tagger) -> TaggerNote:
    """Returns what an import notes of a tagger."""
    libraries = ("tensorflow", "keras", "numpy")
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    return TaggerNote(tagger.name, tagger.class_names, tagger.digest, tagger.rule, versions)


def file_digest(path: Path) -> str:
    """Hashes a file, or all files below a folder with their names.

    Raises:
      SepconError: there is none, or it cannot be read.
    """
    try:
        if path.is_file():
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        files = sorted(file for file in path.rglob("*") if file.is_file())
        digest = hashlib.sha256()
        for each in files:
            digest.update(f"{each.relative_to(path)}\0{file_digest(each)}\0".encode())
    except OSError as error:
        raise SepconError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not files:
        raise SepconError(f"{path}: no such file or folder; give the path of the tagger's model")
    return digest.hexdigest()


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Reads the classes of a tagger, in the order of its scores.

    Args:
      path: a CSV table with a column `display_name` or `name`, as taggers of AudioSet have it; a
        JSON list, or an object of numbers; or a text file with a name in each line.

    Raises:
      SepconError: the file cannot be read, or a name is empty or stands there twice.
    """
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
        names = _names_in(text, file.suffix.lower())
        if not names or not all(names):
            raise ValueError(f"{len(names)} names, of which some are empty" if names else "empty")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} stands there twice")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise SepconError(
            f"{file}: holds no list of classes ({one_line(error)}); expected a table with a column "
            "display_name, a JSON list, or a name in each line"
        ) from error
    return tuple(names)


def _names_in(text: str, ending: str) -> list[str]:
    if ending == ".json":
        content = json.loads(text)
        if isinstance(content, dict):
            content = [content[str(number)] for number in range(len(content))]
        # Lists of ImageNet may have several words for a class, the usual one first.
        return [str(each[-1] if isinstance(each, list) else each) for each in content]
    if ending == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        column = next((name for name in _NAME_COLUMNS if rows and name in rows[0]), None)
        if column is None:
            raise ValueError(f"no column is called {' or '.join(_NAME_COLUMNS)}")
        return [row[column] for row in rows]
    return [line.strip() for line in text.splitlines() if line.strip()]
