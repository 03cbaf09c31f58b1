"""Image files as 8-bit RGB: whatever their mode and orientation, and what is wrong with them.

JPEG and PNG are read, told apart by their content and not by their name. Whatever is wrong with a
file is told in one line that names it.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal, get_args

import numpy as np

from sepcon.errors import FileError, SepconError, one_line, refuse_pipe
from sepcon.images.square import SquareImage, squeeze

FaultKind = Literal[
    "missing", "unreadable", "empty", "not an image", "cut off", "damaged", "too large"
]
FAULT_KINDS = get_args(FaultKind)
FORMATS = ("JPEG", "PNG")
# Modes of one channel with 16 bits or more, which Pillow would clip at 255.
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I")
# The EXIF tag, and those of its values that exchange width and height.
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
_WHITE = (255, 255, 255, 255)


class ImageError(FileError):
    """An image cannot be used. Its `kind` is one of `FAULT_KINDS`."""

    kind: FaultKind

    def __init__(self, kind: FaultKind, path: str, detail: str) -> None:
        super().__init__(kind, path, detail)


def pillow() -> ModuleType:
    """Imports Pillow, which decodes.

    Raises:
      SepconError: it is not installed.
    """
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise SepconError(
            "images are decoded by Pillow, which is not installed: pip install 'sepcon[images]'"
        ) from error
    return PIL


def decode_image_file(path: str | Path, side: int) -> SquareImage:
    """Decodes a file to 8-bit RGB and squeezes it to a square.

    Args:
      path: a JPEG or PNG file of any size and mode.
      side: height and width of the result in pixels.

    Raises:
      ImageError: the file cannot be used.
    """
    name = os.fspath(path)
    try:
        refuse_pipe(path)
        with open(path, "rb") as file:
            return _decode(file, name, side)
    except FileNotFoundError as error:
        raise ImageError("missing", name, "no such file; check the path") from error
    except OSError as error:
        raise ImageError(
            "unreadable", name, f"cannot be read ({error.strerror}); check the file and its rights"
        ) from error


def decode_image_bytes(data: bytes, name: str, side: int) -> SquareImage:
    """Decodes the content of a file, see `decode_image_file`.

    Args:
      data: the bytes of a JPEG or PNG file.
      name: what a message calls it.
      side: height and width of the result in pixels.

    Raises:
      ImageError: it cannot be used.
    """
    return _decode(io.BytesIO(data), name, side)


def _decode(file: BinaryIO, name: str, side: int) -> SquareImage:
    with _told(name):
        if not file.read(1):
            raise ImageError("empty", name, "is empty; give the image again")
        file.seek(0)
        image = pillow().Image.open(file, formats=FORMATS)
        if image.format == "PNG":
            # Else a wrong byte gives wrong pixels without a word: checksums are not looked at.
            image.verify()
            file.seek(0)
            image = pillow().Image.open(file, formats=FORMATS)
        width, height = image.size
        # A large JPEG is decoded at a fraction of its size, never below what is wanted.
        image.draft(None, (side, side))
        if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
            width, height = height, width
        pixels = as_rgb(pillow().ImageOps.exif_transpose(image))
    return SquareImage(squeeze(pixels, side), width=width, height=height)


def as_rgb(image: Any) -> np.ndarray:
    """Returns an image of Pillow as uint8 [height, width, 3].

    Grey, palette and CMYK become RGB; 16 bits become 8; what is transparent lies on white.
    """
    if image.mode in _DEEP_MODES:
        grey = np.asarray(image).astype(np.int64) >> 8
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        background = pillow().Image.new("RGBA", rgba.size, _WHITE)
        image = pillow().Image.alpha_composite(background, rgba)
    return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Turns what Pillow raises into an `ImageError`."""
    library = pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SepconError:
        raise
    except library.UnidentifiedImageError as error:
        raise ImageError(
            "not an image", name, "holds no JPEG or PNG image; give an image, or convert it"
        ) from error
    except library.Image.DecompressionBombError as error:
        raise ImageError("too large", name, f"has too many pixels ({one_line(error)})") from error
    # Pillow raises these, and others, wherever a decoder stumbles.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise ImageError(
            "cut off" if cut else "damaged",
            name,
            f"{'ends too early' if cut else 'is damaged'} ({one_line(error)}); give it again",
        ) from error
