"""Images of any shape as squares of one size, beside the shape that they had.

A batch needs images of one size. Cutting a square out of the middle would lose what lies beside it,
a third of the usual photograph. So an image is squeezed to a square as a whole, and its shape is
kept: crops are drawn in the shape that it had, and come out as if cut from the image itself.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class SquareImage:
    """An image that was squeezed to a square.

    Attributes:
      pixels: uint8 [side, side, 3], RGB.
      width: columns that the image had.
      height: rows that it had.
    """

    pixels: np.ndarray
    width: int
    height: int

    @property
    def is_blank(self) -> bool:
        """Whether it is of one colour: there is nothing to see."""
        return bool((self.pixels == self.pixels[0, 0]).all())


def squeeze(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resizes an image to a square, by a cubic kernel as wide as a source pixel or a target pixel.

    Args:
      pixels: uint8 [height, width, 3].
      side: of the square, at least 1.

    Returns:
      uint8 [side, side, 3]; an image of that size as it is.
    """
    if pixels.shape[:2] == (side, side):
        return np.ascontiguousarray(pixels)
    from PIL import Image

    # Of a long side box averages come first: the cubic kernel alone would take far longer.
    resized = Image.fromarray(pixels).resize(
        (side, side), Image.Resampling.BICUBIC, reducing_gap=3.0
    )
    return np.asarray(resized)
