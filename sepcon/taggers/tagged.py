"""A source of clips whose clips are labelled by taggers while they are imported."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np

from sepcon.errors import SepconError
from sepcon.importing.clip_source import Clip, ClipReader, ClipReference, ClipSource, Loaded
from sepcon.taggers.tagger import Tagger, note_of

_LARGEST = float(np.finfo(np.float16).max)


def tagged(source: ClipSource, taggers: Sequence[Tagger]) -> ClipSource:
    """Returns a source whose clips come with what taggers say of them.

    Args:
      source: the clips.
      taggers: each of another name; without any the clips come without scores. Frames of videos are
        decoded for taggers that see them alone.

    Raises:
      SepconError: two taggers have one name, or one sees what the clips do not have.
    """
    if source.read_sound and not any(tagger.sees == "pictures" for tagger in taggers):
        source = dataclasses.replace(source, read=source.read_sound)
    if not taggers:
        return source
    names = [tagger.name for tagger in taggers]
    for name in names:
        if not re.fullmatch(r"\w+", name) or names.count(name) > 1:
            raise SepconError(
                f"import: a tagger is called {name!r}; give each a name of its own, of letters, "
                "digits and underscores"
            )
    if source.content != "audio":
        raise SepconError(f"{source.name}: taggers label clips, this is an import of images")
    for tagger in taggers:
        if tagger.sees == "pictures" and not source.with_pictures:
            raise SepconError(
                f"{source.name}: has no pictures for the tagger {tagger.name}; import videos, or "
                "take a tagger of sound"
            )
    notes = tuple(map(note_of, taggers))
    return dataclasses.replace(
        source,
        read=TaggedReader(source.read, tuple(taggers)),
        settings="; ".join(filter(None, [source.settings, *map(str, notes)])),
        taggers=notes,
    )


@dataclasses.dataclass(frozen=True)
class TaggedReader:
    """Reads clips and has them labelled.

    Attributes:
      read: reads the clips.
      taggers: label them.
    """

    read: ClipReader
    taggers: tuple[Tagger, ...]

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        for reference, content in self.read(references):
            clip = Clip(content) if isinstance(content, np.ndarray) else content
            # What is silent is left out, and need not be labelled.
            if isinstance(clip, Clip) and clip.audio.any():
                scores = {tagger.name: _scores(tagger, clip) for tagger in self.taggers}
                yield reference, dataclasses.replace(clip, pictures=None, scores=scores)
            else:
                yield reference, content


def _scores(tagger: Tagger, clip: Clip) -> np.ndarray:
    """What is kept of a clip, float16 [frames, classes]."""
    scores = np.asarray(tagger.scores(clip), np.float32)
    if scores.ndim != 2 or not len(scores) or scores.shape[1] != len(tagger.class_names):
        raise SepconError(
            f"tagger {tagger.name}: gave scores of shape {scores.shape}, expected [frames, "
            f"{len(tagger.class_names)}], as many as it has classes; check its classes and output"
        )
    if not np.isfinite(scores).all():
        raise SepconError(f"tagger {tagger.name}: gave scores that are not finite; check its model")
    return np.clip(scores, -_LARGEST, _LARGEST).astype(np.float16)
