"""A folder of images, such as ImageNet in its official layout, as a source of an import."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sepcon.data.audio_folder import walk_visible
from sepcon.errors import FileError, SepconError
from sepcon.images.decode import decode_image_file, pillow
from sepcon.importing.clip_source import NO_KNOWN_LABEL, ClipReference, ClipSource, Loaded

IMAGE_ENDINGS = (".jpeg", ".jpg", ".png")
# Images too, but not read here.
_OTHER_ENDINGS = (".avif", ".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")


def image_folder(*, path: str, side: int, labelled_by_folder: bool = False) -> ClipSource:
    """Returns the JPEG and PNG files of a folder and of those below it, sorted by path.

    Every image is squeezed to a square, see `sepcon.images.square`. An image is called by its path
    relative to the folder.

    Args:
      path: the folder. Hidden files and folders are left out.
      side: height and width of the squares in pixels.
      labelled_by_folder: whether the folders right below `path` are the classes, as in train/ of
        ImageNet; images in none of them are then left out.

    Raises:
      SepconError: there is no folder or no image, `side` is below 2, or Pillow is not installed.
    """
    root, side = Path(path).expanduser(), check_side(side)
    paths, note = _find_images(root)
    names = [os.path.relpath(each, root) for each in paths]
    classes: tuple[str, ...] = ()
    if labelled_by_folder:
        classes = tuple(sorted({Path(name).parts[0] for name in names if os.sep in name}))
    references = [_reference(name, classes, labelled_by_folder) for name in names]
    return ClipSource(
        root.resolve().name,
        classes,
        references,
        ImageFileReader(root, side),
        note=note,
        content="images",
        settings=side_setting(side),
    )


def check_side(side: int) -> int:
    """Returns the side of the squares; tells at once what would fail with every image.

    Raises:
      SepconError: it is below 2, or Pillow is not installed.
    """
    pillow()
    if side < 2:
        raise SepconError(f"side: got {side}, expected at least 2 pixels")
    return side


def side_setting(side: int) -> str:
    """Returns what an import says of the size of its images."""
    return f"squares of {side} pixels"


def _reference(name: str, classes: Sequence[str], labelled: bool) -> ClipReference:
    if not labelled:
        return ClipReference(id=name, source=name)
    first, *rest = Path(name).parts
    if not rest:
        return ClipReference(id=name, source=name, reason=NO_KNOWN_LABEL)
    return ClipReference(id=name, source=name, labels=(classes.index(first),))


def _find_images(root: Path) -> tuple[list[Path], str]:
    """The image files below a folder, and what is to be said of those that are not read."""
    if not root.is_dir():
        raise SepconError(f"{root}: no such folder; give the folder that the images lie in")
    errors: list[OSError] = []
    files = [path for path, is_folder in walk_visible(root, errors) if not is_folder]
    paths = sorted(path for path in files if path.suffix.lower() in IMAGE_ENDINGS)
    others = collections.Counter(
        path.suffix.lower() for path in files if path.suffix.lower() in _OTHER_ENDINGS
    )
    notes = [f"{error.filename}: cannot be listed ({error.strerror})" for error in errors]
    notes += [
        f"passed over {count} {ending} files; convert them to PNG"
        for ending, count in sorted(others.items())
    ]
    if not paths:
        raise SepconError(
            f"{root}: holds no image; expected files ending in {' '.join(IMAGE_ENDINGS)}, in it or "
            "in folders below" + "".join(f"; {note}" for note in notes)
        )
    return paths, "; ".join(notes)


@dataclasses.dataclass(frozen=True)
class ImageFileReader:
    """Reads images that are files of their own.

    Attributes:
      root: the folder that `ClipReference.source` is relative to.
      side: height and width of the squares in pixels.
    """

    root: Path
    side: int

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        for reference in references:
            try:
                yield reference, decode_image_file(self.root / reference.source, self.side)
            except FileError as fault:
                yield reference, fault
