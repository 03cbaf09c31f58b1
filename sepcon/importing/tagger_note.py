"""What an import notes of the taggers whose scores it keeps: where a machine label comes from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from sepcon.runs.json_file import read_json, told_if_damaged
from sepcon.runs.run_folder import write_text

TAGGERS_FILE = "taggers.json"
_CURE = "import again"


@dataclasses.dataclass(frozen=True)
class TaggerNote:
    """A tagger as an import remembers it.

    Attributes:
      name: what its scores are called by.
      class_names: of the columns of its scores.
      digest: of its weights and of all else that decides its scores.
      rule: how it goes through a clip, in words.
      versions: of the libraries that it ran with.
    """

    name: str
    class_names: tuple[str, ...]
    digest: str
    rule: str
    versions: str

    def __str__(self) -> str:
        names = hashlib.sha256("\n".join(self.class_names).encode()).hexdigest()
        return (
            f"tagger {self.name} {self.digest[:12]} ({len(self.class_names)} classes {names[:8]}; "
            f"{self.rule}; {self.versions})"
        )


def write_notes(root: Path, notes: Sequence[TaggerNote]) -> None:
    """Writes the taggers of an import into its folder; nothing where there are none.

    Args:
      root: the folder.
      notes: of all taggers, in their order.

    Raises:
      WriteError: it cannot be written.
    """
    if notes:
        content = {"taggers": [dataclasses.asdict(note) for note in notes]}
        write_text(root / TAGGERS_FILE, json.dumps(content, indent=1) + "\n")


def read_notes(root: Path) -> tuple[TaggerNote, ...]:
    """Reads the taggers of an import; none of an import without.

    Args:
      root: its folder.

    Raises:
      SepconError: the file is damaged.
    """
    path = root / TAGGERS_FILE
    if not path.is_file():
        return ()
    content = read_json(path, cure=_CURE)
    with told_if_damaged(path, cure=_CURE):
        notes = [
            TaggerNote(**{**note, "class_names": tuple(map(str, note["class_names"]))})
            for note in content["taggers"]
        ]
        if not all(isinstance(note.name, str) for note in notes):
            raise TypeError("a name is no text")
    return tuple(notes)
