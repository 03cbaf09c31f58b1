"""The output folder of `sepcon separate`: a folder for each recording, and a list of all."""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcon.errors import SepconError, printable
from sepcon.runs import run_folder
from sepcon.runs.json_file import read_json, told_if_damaged
from sepcon.runs.names import path_inside
from sepcon.runs.seals import changed_files, write_seals
from sepcon.runs.whole_file import remove_leftovers, told_if_unwritable, whole_folder

LIST_FILE = "separated.json"
RECORD_FILE = "recording.json"
_NAME_BYTES = 255
_STATUSES = ("done", "failed")
_FIELDS = {
    "recording": (str,),
    "sample_rate_hz": (int,),
    "averaged_channels": (int,),
    "seconds": (int, float),
    "channels": (list,),
}


class SeparatedFolder:
    """Gives every recording a folder of its own, which appears whole or not at all.

    A folder holds the channels and recording.json, which says what they were made from: that is
    how a later run knows what is done, wherever the earlier one was stopped.

    Args:
      root: the output folder; made if need be.
      made_by: what decides the channels: separator and settings, JSON-able. A folder that was
        made by others is refused.

    Raises:
      SepconError: `root` cannot be written, or holds what another separator made.
    """

    def __init__(self, root: Path, made_by: Mapping[str, Any]) -> None:
        self.root = root
        self._made_by = dict(made_by)
        before = _read_list(root)
        if before and before.get("made_by") != self._made_by:
            raise SepconError(
                f"{root} holds the channels of another separator, step, format or window; give "
                "another --out"
            )
        entries = before.get("recordings", [])
        self._before = [entry for entry in entries if self._is_there(entry)]
        self._places = {
            entry["recording"]: self._folder(entry).relative_to(root) for entry in self._before
        }
        self._owners = {_key(place): recording for recording, place in self._places.items()}
        with told_if_unwritable(root, cure="give another --out"):
            root.mkdir(parents=True, exist_ok=True)
        remove_leftovers(root)
        self.write_list([])

    def _is_there(self, entry: Mapping[str, Any]) -> bool:
        return entry["status"] == "done" and (self._folder(entry) / RECORD_FILE).is_file()

    def _folder(self, entry: Mapping[str, Any]) -> Path:
        return path_inside(self.root, entry["folder"], source=self.root / LIST_FILE)

    def place(self, recording: Path, name: Path) -> Path:
        """Returns the folder of a recording, relative to the root.

        A recording keeps the folder of an earlier run. A new folder has the name of the recording,
        ending included, with "(2)", "(3)" ... behind it where another recording has that name.
        Names that differ only in capitals count as the same, because they are on some file systems.

        Args:
          recording: its absolute path.
          name: what it is called: its path below the folder that the user gave.
        """
        source, number, place = str(recording), 1, self._places.get(str(recording), name)
        while (self._owners.get(_key(place)) or self._owner(place)) not in (None, source):
            number += 1
            place = name.with_name(_numbered(name.name, number))
        self._owners[_key(place)] = source
        return place

    def _owner(self, place: Path) -> str | None:
        """Who has a place on disk: None if it is free, no recording if it is something else."""
        folder = self.root / place
        if not os.path.lexists(folder):
            return None
        return _read_json(folder / RECORD_FILE).get("recording", "")

    def record(self, recording: Path, place: Path) -> dict[str, Any] | None:
        """Returns what an earlier run wrote about a recording.

        Args:
          recording: its absolute path.
          place: its folder, see `place`.

        Returns:
          The record; None if its channels are not there, if one of them or the record itself is not
          what was written, or if the recording has changed since.
        """
        if not is_output(self.root / place) or _has_changed(self.root / place):
            return None
        record = _read_json(self.root / place / RECORD_FILE)
        same = record.items() >= identity_of(recording).items()
        return record if same and _is_record(record) else None

    @contextlib.contextmanager
    def filling(self, place: Path) -> Iterator[Path]:
        """Gives an empty folder, which becomes the folder of a recording at the end of the block.

        Args:
          place: the folder, see `place`.

        Raises:
          WriteError: it cannot be given that name.
        """
        # At the root, where the next start finds what a killed one has left.
        with whole_folder(self.root / place, scratch_in=self.root) as scratch:
            yield scratch
            write_seals(scratch, [path.name for path in scratch.iterdir()])

    def write_list(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Writes separated.json: the settings, and the result for each recording.

        Args:
          entries: of this run; those of earlier runs whose channels are there stay.

        Returns:
          All entries.
        """
        told = {entry["recording"] for entry in entries}
        earlier = [entry for entry in self._before if entry["recording"] not in told]
        recordings = [*earlier, *map(dict, entries)]
        text = json.dumps({"made_by": self._made_by, "recordings": recordings}, indent=1)
        run_folder.write_text(self.root / LIST_FILE, text + "\n")
        return recordings


def identity_of(recording: Path) -> dict[str, Any]:
    """Returns what tells whether a recording has changed: its path, size and time of change.

    Args:
      recording: its path.

    Raises:
      SepconError: it is not there.
    """
    try:
        status = recording.stat()
    except OSError as error:
        raise SepconError(f"{recording}: cannot be read ({error.strerror})") from None
    return {
        "recording": str(recording),
        "bytes": status.st_size,
        "changed_ns": status.st_mtime_ns,
    }


def is_output(folder: Path) -> bool:
    """Tells whether a folder is one into which `separate` has written a recording's channels."""
    return (folder / RECORD_FILE).is_file()


def _has_changed(folder: Path) -> bool:
    """Whether a file of a recording is missing or another one, or its seals are damaged."""
    try:
        return bool(changed_files(folder, cure="separate again"))
    except SepconError:
        return True


def _read_list(root: Path) -> dict[str, Any]:
    """What an earlier run has listed, each entry with a folder below the root; empty for none."""
    path = root / LIST_FILE
    if not path.is_file():
        return {}
    cure = "remove it: what is separated is known by the folders themselves"
    content = read_json(path, cure=cure)
    with told_if_damaged(path, cure=cure):
        for entry in content["recordings"]:
            if not isinstance(entry["recording"], str) or entry["status"] not in _STATUSES:
                raise ValueError(f"an entry says {printable(str(entry))}")
            if entry["status"] == "done":
                path_inside(root, entry["folder"], source=path)
                if not _is_record(entry):
                    raise ValueError(f"an entry says {printable(str(entry))}")
    return content


def _is_record(content: Mapping[str, Any]) -> bool:
    """Whether all is there that is said of a recording that was separated."""
    kinds = {name: type(content.get(name)) for name in _FIELDS}
    channels = content.get("channels")
    return (
        all(kinds[name] in expected for name, expected in _FIELDS.items())
        and isinstance(channels, list)
        and all(isinstance(name, str) for name in channels)
    )


def _key(place: Path) -> str:
    return unicodedata.normalize("NFC", str(place)).casefold()


def _numbered(name: str, number: int) -> str:
    """Puts a number behind a name, which is cut where it would become too long for a file."""
    mark = f" ({number})"
    room = _NAME_BYTES - len(mark)
    return os.fsencode(name)[:room].decode("utf-8", "ignore") + mark


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
