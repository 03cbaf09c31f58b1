"""What can be imported: the list of all clips or images of a source, and a reader of them.

The list is made first, which takes little time. It is cut into shards, and any process can read any
shard: a `ClipSource` therefore holds only what can be pickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from sepcon.audio.decode import decode_file
from sepcon.audio.files import AudioError
from sepcon.errors import FileError, SepconError, printable
from sepcon.images.square import SquareImage
from sepcon.importing.tagger_note import TaggerNote

# What the records of an import hold.
Content = Literal["audio", "images"]
CONTENTS = get_args(Content)

# Why a clip or an image is left out, beside the kinds of `AudioError` and `ImageError`.
BLANK = "of one colour"
DUPLICATE = "duplicate id"
MISSING = "missing"
NO_KNOWN_LABEL = "no known label"
NOT_IN_TABLE = "not in the table"
SILENT = "silent"


@dataclasses.dataclass(frozen=True, slots=True)
class ClipReference:
    """One clip or image of a source, before it is read.

    Attributes:
      id: its name, unique among those that are imported.
      source: the file that holds it, relative to the folder of the source.
      row: its number inside that file, where a file holds several; else None.
      labels: class numbers, sorted.
      unknown_labels: labels that are no class of the source.
      group: the original recording it was cut from, where that is known.
      fold: the fold or split that the source puts it in, where it does.
      reason: why it is left out, if that is known already; else empty.
    """

    id: str
    source: str
    row: int | None = None
    labels: tuple[int, ...] = ()
    unknown_labels: tuple[str, ...] = ()
    group: str = ""
    fold: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """A clip of which there is more than its sound.

    Attributes:
      audio: int16 [samples] at 16 kHz.
      pictures: uint8 [n, height, width, 3], RGB frames of a video; None of sound alone.
      scores: name of a tagger -> float16 [frames, classes], what it says of each of its windows or
        frames.
    """

    audio: np.ndarray
    pictures: np.ndarray | None = None
    scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


ClipContent = np.ndarray | Clip | SquareImage
# What was read. The reference may know more than before: a TFDS record tells its labels, or that it
# has none and is to be left out.
Loaded = tuple[ClipReference, ClipContent | FileError]


class ClipReader(Protocol):
    """Reads clips (int16 [samples] at 16 kHz, or more of them) or images in order.

    In the place of one that cannot be used it gives what is wrong with it.
    """

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]: ...


@dataclasses.dataclass(frozen=True)
class ClipSource:
    """A collection of recordings or images to import.

    Attributes:
      name: what it is, a few letters; names the imported data set.
      class_names: the classes that labels are numbers of; empty when nothing is labelled.
      references: every clip, those that will be left out too, in a fixed order.
      read: reads some of them.
      note: one line on what the list does not show; empty if there is nothing.
      content: what is read.
      settings: of the reader, as text: an import goes on only with those it began with.
      with_pictures: whether the clips come with frames of a video.
      read_sound: reads the same clips without frames; None where `read` does.
      taggers: what the scores of the clips are of.
    """

    name: str
    class_names: tuple[str, ...]
    references: Sequence[ClipReference]
    read: ClipReader
    note: str = ""
    content: Content = "audio"
    settings: str = ""
    with_pictures: bool = False
    read_sound: ClipReader | None = None
    taggers: tuple[TaggerNote, ...] = ()

    def __post_init__(self) -> None:
        for name in self.class_names:
            # Folders may be called so; tables, cards and pages hold text.
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise SepconError(
                    f"{printable(self.name)}: the class {printable(name)} has a name that is not "
                    "UTF-8; rename its folder"
                )


@dataclasses.dataclass(frozen=True)
class FileReader:
    """Reads clips that are files of their own.

    Attributes:
      root: the folder that `ClipReference.source` is relative to.
    """

    root: Path

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        for reference in references:
            try:
                yield reference, decode_file(self.root / reference.source)
            except AudioError as fault:
                yield reference, fault


def without_duplicates(references: Iterable[ClipReference]) -> list[ClipReference]:
    """Marks every clip that has the id of an earlier one as left out; the order stays."""
    seen: set[str] = set()
    marked = []
    for reference in references:
        again = reference.id in seen
        seen.add(reference.id)
        marked.append(dataclasses.replace(reference, reason=DUPLICATE) if again else reference)
    return marked


def shards_of(
    references: Sequence[ClipReference], clips_per_shard: int
) -> list[Sequence[ClipReference]]:
    """Cuts the list into shards, the last of which may be shorter."""
    starts = range(0, len(references), clips_per_shard)
    return [references[start : start + clips_per_shard] for start in starts]


def fingerprint(source: ClipSource) -> str:
    """Computes a digest of the list of clips; an import goes on only where it is the same."""
    digest = hashlib.sha256("\n".join(source.class_names).encode())
    for reference in source.references:
        digest.update(repr(reference).encode())
    return digest.hexdigest()[:16]
