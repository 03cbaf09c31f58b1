"""Every kind of image file becomes RGB, and what is wrong with the others is told."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepcon.images.decode import ImageError, decode_image_bytes, decode_image_file
from sepcon.images.square import squeeze

# Columns red and blue, the upper half darker: tells every turn of an image from every other.
PIXELS = np.zeros((40, 60, 3), np.uint8)
PIXELS[:, :30, 0], PIXELS[:, 30:, 2] = 200, 200
PIXELS[:20] //= 2
SIDE = 20


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corners(pixels: np.ndarray) -> np.ndarray:
    """The colours of the four quarters, [4, 3]."""
    at = [SIDE // 4, 3 * SIDE // 4]
    return np.array([pixels[row, column] for row in at for column in at], int)


def test_modes_become_rgb() -> None:
    rgb = Image.fromarray(PIXELS)
    expected = corners(squeeze(PIXELS, SIDE))
    for data in (encoded(rgb), encoded(rgb.quantize(8)), encoded(rgb, "JPEG", quality=95)):
        image = decode_image_bytes(data, "x", SIDE)
        assert (image.width, image.height) == (60, 40)
        assert np.abs(corners(image.pixels) - expected).max() <= 6
    cmyk = decode_image_bytes(encoded(rgb.convert("CMYK"), "JPEG", quality=95), "x", SIDE)
    assert np.abs(corners(cmyk.pixels) - expected).max() <= 10


def test_grey_of_8_and_16_bits_and_transparency() -> None:
    grey = np.linspace(0, 255, SIDE * SIDE).astype(np.uint8).reshape(SIDE, SIDE)
    expected = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    for image in (Image.fromarray(grey), deep):
        decoded = decode_image_bytes(encoded(image), "x", SIDE)
        np.testing.assert_array_equal(decoded.pixels, expected)
    alpha = np.zeros((SIDE, SIDE, 4), np.uint8)
    alpha[:, :10] = (10, 20, 30, 255)
    pixels = decode_image_bytes(encoded(Image.fromarray(alpha)), "x", SIDE).pixels
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert pixels[0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright_whatever_the_camera_was_held_like(orientation: int) -> None:
    # What each value says has to be done, from the EXIF standard, 4.6.4.
    turned = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, -1),
        7: PIXELS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PIXELS),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image_bytes(
        encoded(Image.fromarray(PIXELS), "JPEG", exif=exif, quality=95), "x", SIDE
    )
    assert (image.height, image.width) == turned.shape[:2]
    expected = corners(squeeze(np.ascontiguousarray(turned), SIDE))
    assert np.abs(corners(image.pixels) - expected).max() <= 6


def test_sizes_from_one_pixel_to_ten_thousand_columns() -> None:
    dot = decode_image_bytes(encoded(Image.fromarray(PIXELS[:1, :1])), "x", SIDE)
    assert dot.pixels.shape == (SIDE, SIDE, 3)
    assert dot.is_blank
    wide = np.tile(PIXELS[20:24], (1, 167, 1))[:, :10_000]
    wide[:, 5000:] = 255 - wide[:, 5000:]
    image = decode_image_bytes(encoded(Image.fromarray(wide)), "x", SIDE)
    assert (image.width, image.height, image.is_blank) == (10_000, 4, False)
    halves = image.pixels.reshape(SIDE, 2, SIDE // 2, 3).mean(axis=(0, 2))
    expected = wide.reshape(4, 2, 5000, 3).mean(axis=(0, 2))
    assert np.abs(halves - expected).max() < 8


def test_a_square_of_the_wanted_size_is_left_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    np.testing.assert_array_equal(
        decode_image_bytes(encoded(Image.fromarray(pixels)), "x", SIDE).pixels, pixels
    )


def test_whatever_is_wrong_is_named_in_one_line(tmp_path: Path) -> None:
    jpeg = encoded(Image.fromarray(PIXELS), "JPEG")
    png = encoded(Image.fromarray(PIXELS))
    middle = len(png) // 2
    flipped = png[:middle] + bytes([png[middle] ^ 0xFF]) + png[middle + 1 :]
    for name, data, kind in (
        ("text.jpg", b"this is no image at all", "not an image"),
        ("empty.png", b"", "empty"),
        ("half.jpg", jpeg[: len(jpeg) // 2], "cut off"),
        ("half.png", png[: len(png) // 2], "cut off"),
        ("sound.jpg", b"RIFF0000WAVEfmt ", "not an image"),
        ("flipped.png", flipped, "damaged"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError) as told:
            decode_image_file(tmp_path / name, SIDE)
        assert told.value.kind == kind, (name, str(told.value))
        assert str(tmp_path / name) in str(told.value)
        assert "\n" not in str(told.value)
    with pytest.raises(ImageError) as told:
        decode_image_file(tmp_path / "nowhere.png", SIDE)
    assert told.value.kind == "missing"
