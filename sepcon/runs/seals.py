"""What a finished folder holds, noted beside it and compared when it is opened.

Clips are found by their number, so that a line taken out of a list, or a shard of another folder,
would give every later clip the labels and the part of its neighbour. `seals.json` names each file
with its size and a digest: of small files all bytes count, of large ones blocks that are spread
over the file. What lies between them has checksums of its own, which are looked at when it is read.
Folders of versions before have no such file; of these what can be checked is checked elsewhere. The
record of a run says whether it has one, so that a lost file is not taken for an old folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sepcon.errors import SepconError, printable, refuse_pipe
from sepcon.runs.json_file import read_json, told_if_damaged
from sepcon.runs.names import path_inside
from sepcon.runs.whole_file import told_if_unwritable, whole_file

SEALS_FILE = "seals.json"
# What the record of a finished run says of them.
_RECORD_FILE, _NOTE = "run.json", "sealed"
_WHOLE_BYTES = 1 << 22
_BLOCKS, _BLOCK_BYTES = 16, 4096


def write_seals(folder: Path, names: Iterable[str]) -> None:
    """Notes what some files of a folder are, once all of them are whole.

    Args:
      folder: where they are.
      names: of the files.

    Raises:
      WriteError: it cannot be written, or a file cannot be read.
    """
    path = folder / SEALS_FILE
    with told_if_unwritable(path), whole_file(path) as scratch:
        seals = {name: _seal(folder / name) for name in sorted(names)}
        text = json.dumps({"files": seals}, indent=1) + "\n"
        scratch.write_text(text, encoding="utf-8", errors="surrogateescape")


def check_seals(folder: Path, *, cure: str) -> None:
    """Compares the files of a folder with what was noted of them; nothing noted is nothing to say.

    Args:
      folder: where they are.
      cure: what the user can do.

    Raises:
      SepconError: a file is missing or another one.
    """
    for file, fault in _faults(folder, cure):
        raise SepconError(f"{printable(str(file))}: {fault}; {cure}")


def changed_files(folder: Path, *, cure: str) -> set[str]:
    """Returns the names of files of a folder that are not what was noted, for who can mend them.

    Args:
      folder: where they are.
      cure: what the user can do where the notes themselves are damaged.

    Raises:
      SepconError: the notes are damaged.
    """
    return {file.name for file, _ in _faults(folder, cure)}


def _faults(folder: Path, cure: str) -> Iterator[tuple[Path, str]]:
    """Yields each file that is not what was noted, and what is wrong with it."""
    path = folder / SEALS_FILE
    if not path.is_file():
        if _are_noted(folder / _RECORD_FILE):
            yield path, "is missing, in which it is noted what the other files are"
        return
    content = read_json(path, cure=cure)
    with told_if_damaged(path, cure=cure):
        seals = {str(name): str(seal) for name, seal in content["files"].items()}
    for name, seal in seals.items():
        file = path_inside(folder, name, source=path)
        try:
            if _seal(file) != seal:
                yield file, "is not what was written there, it was changed or exchanged since"
        except OSError as error:
            yield file, f"cannot be read ({error.strerror})"


def note_of_seals(folder: Path) -> dict[str, bool]:
    """Returns what the record of a run says of its seals, so that nobody believes it without them.

    Args:
      folder: of the run.
    """
    return {_NOTE: True} if (folder / SEALS_FILE).is_file() else {}


def _are_noted(record: Path) -> bool:
    """Whether the record of a run says that there are seals; one that is damaged is told later."""
    try:
        content = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get(_NOTE) is True


def _seal(path: Path) -> str:
    refuse_pipe(path)
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _WHOLE_BYTES:
            return f"{size} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
        digest = hashlib.sha256()
        for number in range(_BLOCKS):
            start = number * (size - _BLOCK_BYTES) // (_BLOCKS - 1)
            digest.update(os.pread(file.fileno(), _BLOCK_BYTES, start))
        return f"{size} {digest.hexdigest()[:16]}"
