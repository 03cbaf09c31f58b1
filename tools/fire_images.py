"""Mutated image files through the decoder of imports, each with a limit of time and memory.

As in `fire_audio`: an image is decoded, or refused in one line by an ImageError.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fire_audio
import numpy as np
from fire_process import REFUSED, TRACEBACK
from fire_table import Table
from PIL import Image

_SIDE = 16
# Format and mode, and what Pillow is told when it writes one.
_KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "L", {}),
    ("PNG", "P", {}),
    ("PNG", "I;16", {}),
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {}),
    ("JPEG", "RGB", {"progressive": True}),
)


def table() -> Table:
    """An empty table."""
    told = fire_audio.table()
    told.title, told.head = "Mutated images through the decoder", "image"
    return told


def originals(generator: np.random.Generator) -> dict[str, bytes]:
    """Returns a small whole image of every kind; one of the JPEG files lies on its side."""
    made = {}
    for number, (format, mode, options) in enumerate(_KINDS):
        height, width = generator.integers(10, 60, 2)
        if mode == "I;16":
            image = Image.fromarray(generator.integers(0, 1 << 16, (height, width), np.uint16))
        else:
            image = Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))
            image = image.convert(mode)
        turned = Image.Exif()
        turned[0x0112] = 6 if number % 2 else 1
        file = io.BytesIO()
        image.save(file, format=format, exif=turned, **options)
        made[" ".join([format, mode, *options])] = file.getvalue()
    return made


def fire(told: Table, *, count: int, seed: int, keep: Path | None = None) -> Iterator[int]:
    """Decodes mutated images in a process of its own; yields after each how many are done.

    Args:
      told: receives what became of each.
      count: how many.
      seed: of the mutations.
      keep: a folder for images at fault; None keeps none.
    """
    whole = originals(np.random.default_rng(seed))
    return fire_audio.fire(told, count=count, seed=seed, keep=keep, whole=whole, decode=_decode)


def _decode(path: str) -> tuple[str, str]:
    """Decodes an image, in the fork; returns what became of it, and more of it in a line."""
    from sepcon.images.decode import ImageError, decode_image_file

    try:
        image = decode_image_file(path, _SIDE)
    except ImageError as error:
        whole = "\n" not in str(error) and str(error).startswith(path)
        return (REFUSED if whole else TRACEBACK), str(error)
    except BaseException as error:
        return TRACEBACK, f"{type(error).__name__}: {error}"
    shape, dtype = image.pixels.shape, image.pixels.dtype
    if shape != (_SIDE, _SIDE, 3) or dtype != np.uint8:
        return TRACEBACK, f"gave {dtype} {shape}"
    return fire_audio.DECODED, ""
