"""Augmentations of images against Pillow, tf.image and plain numpy."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from image_fixtures import picture
from PIL import Image

from sepcon.doctor.graph_lint import lint_graph
from sepcon.views.image_augment import (
    Boxes,
    ColourJitter,
    RandomBlur,
    RandomGrey,
    RandomResizedCrop,
    centre_boxes,
    crop_and_resize,
)

IMAGES = np.stack([picture(n, height=24, width=24) for n in range(4)]).astype(np.float32) / 255
UNIFORMS = np.random.default_rng(0).random((4, 12), np.float32)


def boxes(*sides: float) -> Boxes:
    return Boxes(*[tf.fill([4], np.float32(side)) for side in sides])


@pytest.mark.parametrize("size", [9, 24, 40])
def test_a_part_is_resized_as_pillow_resizes_it(size: int) -> None:
    top, left, bottom, right = 0.1, 0.25, 0.8, 0.85
    got = crop_and_resize(tf.constant(IMAGES), boxes(top, left, bottom, right), size).numpy()
    for image, resized in zip(IMAGES, got, strict=True):
        for channel in range(3):
            expected = Image.fromarray(image[..., channel]).resize(
                (size, size),
                Image.Resampling.BICUBIC,
                box=(24 * left, 24 * top, 24 * right, 24 * bottom),
            )
            np.testing.assert_allclose(resized[..., channel], np.asarray(expected), atol=2e-5)
    mirrored = crop_and_resize(tf.constant(IMAGES), boxes(top, right, bottom, left), size).numpy()
    np.testing.assert_allclose(mirrored, got[:, :, ::-1], atol=1e-6)
    whole = crop_and_resize(tf.constant(IMAGES), boxes(0, 0, 1, 1), 24).numpy()
    np.testing.assert_allclose(whole, IMAGES, atol=1e-6)


def test_parts_are_drawn_as_simclr_draws_them() -> None:
    count, height, width = 1500, 300, 500
    crop = RandomResizedCrop(size=8)
    uniforms = np.random.default_rng(1).random((count, 5), np.float32)
    drawn = crop.boxes(tf.fill([count], np.float32(width / height)), tf.constant(uniforms))
    own = np.stack(
        [
            np.minimum(drawn.left, drawn.right) * width,
            drawn.top * height,
            np.abs(drawn.right - drawn.left) * width,
            (drawn.bottom - drawn.top) * height,
        ],
        axis=-1,
    )

    @tf.function
    def of_tensorflow(seed: tf.Tensor) -> tf.Tensor:
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            [height, width, 3],
            tf.zeros([0, 0, 4]),
            seed=tf.stack([seed, 0]),
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            min_object_covered=0.0,
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.stack([begin[1], begin[0], size[1], size[0]])

    theirs = tf.map_fn(of_tensorflow, tf.range(count)).numpy()
    assert own.min() >= 0
    assert (own[:, 0] + own[:, 2]).max() <= width + 1e-3
    assert (own[:, 1] + own[:, 3]).max() <= height + 1e-3
    area = own[:, 2] * own[:, 3] / (height * width)
    assert area.min() > 0.0799
    for of_own, of_theirs in (
        *zip(own.T, theirs.T, strict=True),
        (area, theirs[:, 2] * theirs[:, 3] / (height * width)),
    ):
        shares = np.linspace(0.05, 0.95, 10)
        # Two samples of 1500: quantiles within a few per cent of the range.
        spread = np.ptp(of_theirs)
        np.testing.assert_allclose(
            np.quantile(of_own, shares), np.quantile(of_theirs, shares), atol=0.05 * spread
        )
    mirrored = np.asarray(drawn.left > drawn.right)
    assert abs(mirrored.mean() - 0.5) < 0.04


@pytest.mark.parametrize("aspect", [5000.0, 1 / 5000])
def test_the_longest_images_have_parts_too(aspect: float) -> None:
    crop = RandomResizedCrop(size=8)
    drawn = crop.boxes(tf.fill([4], aspect), tf.constant(UNIFORMS[:, :5]))
    height = np.asarray(drawn.bottom - drawn.top)
    width = np.abs(np.asarray(drawn.right - drawn.left)) * aspect
    assert np.all(np.isfinite(width / height))
    assert np.all((width / height > 0.74) & (width / height < 1.34))
    assert np.maximum(height, width / aspect).max() == pytest.approx(1, abs=1e-4)


def test_the_middle_is_a_square_of_the_image_as_it_was() -> None:
    found = centre_boxes(tf.constant([2.0, 0.5]), 0.5)
    np.testing.assert_allclose(found.bottom - found.top, [0.5, 0.25])
    np.testing.assert_allclose(found.right - found.left, [0.25, 0.5])
    np.testing.assert_allclose(found.top + found.bottom, 1)
    np.testing.assert_allclose(found.left + found.right, 1)


def test_colours_change_as_tf_image_changes_them_in_every_order() -> None:
    jitter = ColourJitter(strength=0.9, probability=1.0)
    orders = set()
    for number in range(24):
        uniforms = np.concatenate([UNIFORMS[:, :1], UNIFORMS[:, 1:6]], axis=1)
        uniforms[:, 1] = (number + 0.5) / 24
        got = jitter(tf.constant(IMAGES), tf.constant(uniforms)).numpy()
        order = _order(number)
        orders.add(tuple(order))
        for image, row, changed in zip(IMAGES, uniforms, got, strict=True):
            b, c, s = (1 + 0.72 * (2 * each - 1) for each in row[2:5])
            expected = image
            for which in order:
                if which == 0:
                    expected = expected * b
                elif which == 1:
                    expected = tf.image.adjust_contrast(expected, c).numpy()
                elif which == 2:
                    expected = tf.image.adjust_saturation(expected, s).numpy()
                else:
                    expected = tf.image.adjust_hue(expected, 0.18 * (2 * row[5] - 1)).numpy()
                expected = np.clip(expected, 0, 1)
            np.testing.assert_allclose(changed, expected, atol=2e-5)
    assert len(orders) == 24


def _order(number: int) -> list[int]:
    """The permutation of that number, by hand: the factorial number system."""
    left, order = [0, 1, 2, 3], []
    for base in (6, 2, 1, 1):
        order.append(left.pop(number // base))
        number %= base
    return order


def test_black_white_and_grey_stay_free_of_colour_and_of_nan() -> None:
    flat = np.stack([np.full((24, 24, 3), level, np.float32) for level in (0, 0.5, 1, 0.25)])
    changed = ColourJitter(probability=1.0)(tf.constant(flat), tf.constant(UNIFORMS[:, :6])).numpy()
    assert np.isfinite(changed).all()
    assert np.ptp(changed, axis=-1).max() < 1e-6


def test_grey_is_that_of_tf_image() -> None:
    uniforms = tf.constant([[0.1], [0.3], [0.1], [0.3]])
    got = RandomGrey(probability=0.2)(tf.constant(IMAGES), uniforms).numpy()
    grey = np.repeat(tf.image.rgb_to_grayscale(IMAGES).numpy(), 3, axis=-1)
    np.testing.assert_allclose(got[[0, 2]], grey[[0, 2]], atol=1e-6)
    np.testing.assert_array_equal(got[[1, 3]], IMAGES[[1, 3]])


def test_blur_is_a_gaussian_in_plain_loops() -> None:
    blur = RandomBlur(probability=0.6, radius_share=0.2)
    uniforms = np.array([[0.1, 0.9], [0.7, 0.5], [0.2, 0.0], [0.59, 0.4]], np.float32)
    got = blur(tf.constant(IMAGES), tf.constant(uniforms)).numpy()
    np.testing.assert_array_equal(got[1], IMAGES[1])
    for number in (0, 2, 3):
        deviation = 0.1 + 1.9 * uniforms[number, 1]
        expected = _blurred(_blurred(IMAGES[number], deviation).swapaxes(0, 1), deviation)
        np.testing.assert_allclose(got[number], expected.swapaxes(0, 1), atol=1e-5)


def _blurred(image: np.ndarray, deviation: float) -> np.ndarray:
    result = np.zeros_like(image)
    for row in range(24):
        near = [other for other in range(24) if abs(other - row) <= 4]
        weights = [np.exp(-((other - row) ** 2) / (2 * deviation**2)) for other in near]
        for other, weight in zip(near, weights, strict=True):
            result[row] += image[other] * weight / sum(weights)
    return result


def test_nothing_fails_on_an_accelerator_and_a_compiled_graph_gives_the_same() -> None:
    crop, chain = RandomResizedCrop(size=16), (ColourJitter(), RandomGrey(), RandomBlur())

    def augment(image: tf.Tensor, aspect: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        part = crop(image, aspect, uniforms[:, :5])
        for each in chain:
            part = each(part, uniforms[:, : each.num_uniforms])
        return part

    arguments = (tf.constant(IMAGES), tf.constant([1.0, 2.0, 0.5, 1.5]), tf.constant(UNIFORMS))
    traced = tf.function(augment, autograph=False)
    assert lint_graph(traced.get_concrete_function(*arguments).graph) == []
    eager = augment(*arguments).numpy()
    np.testing.assert_allclose(traced(*arguments), eager, atol=1e-5)
    compiled = tf.function(augment, autograph=False, jit_compile=True)
    np.testing.assert_allclose(compiled(*arguments), eager, atol=1e-4)


@pytest.mark.parametrize(
    "augmentation, changes",
    [
        (RandomResizedCrop(), {"min_area": 0.0}),
        (RandomResizedCrop(), {"max_aspect": 0.5}),
        (RandomResizedCrop(), {"size": 0}),
        (ColourJitter(), {"strength": 1.3}),
        (RandomGrey(), {"probability": 1.1}),
        (RandomBlur(), {"min_deviation": 3.0}),
    ],
)
def test_impossible_settings_are_refused(augmentation: object, changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        dataclasses.replace(augmentation, **changes)  # type: ignore[type-var]
