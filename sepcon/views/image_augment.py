"""Augmentations of images, which get their random numbers as arguments; see `views.augment`.

Resizing and blurring are products with matrices that are made of the random numbers: no operation
here has a shape that depends on data, needs a loop over examples, or is missing on an accelerator.
Constants are those of SimCLR (Chen et al., 2020, appendix A, and its code).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

# Weights of red, green and blue in grey (ITU-R BT.601), as tf.image has them.
_GREY = (0.2989, 0.5870, 0.1140)
# Keys' cubic: the one that Pillow, TensorFlow and PyTorch call bicubic with half-pixel centres.
_CUBIC = -0.5
_ORDERS = np.array(list(itertools.permutations(range(4))), np.float32)  # [24, 4]


@dataclass(frozen=True)
class Boxes:
    """Parts of images, one of each, in shares of its width and height.

    Attributes:
      top: [batch] float32, from 0 at the upper edge to 1 at the lower one; as are the others.
      left: of the left edge.
      bottom: of the lower edge.
      right: of the right edge; less than `left` mirrors the part.
    """

    top: tf.Tensor
    left: tf.Tensor
    bottom: tf.Tensor
    right: tf.Tensor


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cuts a part of each image, resizes it to a square, and mirrors it half of the time.

    The part is drawn as `tf.image.sample_distorted_bounding_box` draws it for SimCLR, without
    rounding to pixels: first its aspect, then its height, among all for which it lies inside of the
    image and has a permitted area, then its place. It never has to be drawn again. (SimCLR's
    own code draws anew what covers less than a tenth.) Of an image so
    long that none is both large enough and inside, the largest that is inside is taken.

    Attributes:
      size: height and width of the result in pixels.
      min_area: the smallest share of the area of the image.
      max_area: the largest.
      max_aspect: width by height is uniform from 1 / max_aspect to max_aspect.
      flip_probability: of mirroring left and right.
    """

    size: int = 224
    min_area: float = 0.08
    max_area: float = 1.0
    max_aspect: float = 4 / 3
    flip_probability: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")
        if not 0 < self.min_area <= self.max_area <= 1:
            raise ValueError(
                f"min_area={self.min_area} and max_area={self.max_area} must satisfy "
                "0 < min_area <= max_area <= 1"
            )
        if self.max_aspect < 1:
            raise ValueError(f"max_aspect must be at least 1, got {self.max_aspect}")
        _check_probability("flip_probability", self.flip_probability)

    @property
    def num_uniforms(self) -> int:
        return 5

    def __call__(self, image: tf.Tensor, aspect: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Cuts a part of each image.

        Args:
          image: [batch, side, side, 3] float32, squeezed to a square.
          aspect: [batch] float32, width by height before that.
          uniforms: [batch, num_uniforms] float32 in [0, 1).

        Returns:
          [batch, size, size, 3] float32.
        """
        return crop_and_resize(image, self.boxes(aspect, uniforms), self.size)

    def boxes(self, aspect: tf.Tensor, uniforms: tf.Tensor) -> Boxes:
        """The parts that `__call__` cuts: aspect [batch], uniforms [batch, num_uniforms]."""
        of_aspect, of_height, of_top, of_left, of_flip = tf.unstack(uniforms, axis=-1)
        # In units of the height of the image, whose area is then its aspect.
        least = 1 / self.max_aspect
        part = least + of_aspect * (self.max_aspect - least)
        lowest = tf.sqrt(self.min_area * aspect / part)
        highest = tf.minimum(tf.sqrt(self.max_area * aspect / part), 1.0)
        highest = tf.minimum(highest, aspect / part)
        lowest = tf.minimum(lowest, highest)
        height = lowest + of_height * (highest - lowest)
        width = height * part / aspect  # in units of the width
        top, left = of_top * (1 - height), of_left * (1 - width)
        flip = of_flip < self.flip_probability
        return Boxes(
            top=top,
            bottom=top + height,
            left=tf.where(flip, left + width, left),
            right=tf.where(flip, left, left + width),
        )


def centre_boxes(aspect: tf.Tensor, share: float) -> Boxes:
    """The square in the middle of each image, its side a share of the shorter side.

    Args:
      aspect: [batch] float32, width by height.
      share: in (0, 1]; SimCLR evaluates on 0.875 of ImageNet, and on all of CIFAR-10.
    """
    shorter = share * tf.minimum(aspect, 1.0)  # in units of the height
    height, width = shorter, shorter / aspect
    return Boxes(
        top=(1 - height) / 2,
        bottom=(1 + height) / 2,
        left=(1 - width) / 2,
        right=(1 + width) / 2,
    )


def crop_and_resize(image: tf.Tensor, boxes: Boxes, size: int) -> tf.Tensor:
    """Resizes a part of each image by a cubic kernel, wide enough not to alias.

    Args:
      image: [batch, height, width, 3] float32.
      boxes: the parts.
      size: height and width of the result.

    Returns:
      [batch, size, size, 3] float32; it may exceed the range of the image a little.
    """
    height, width = image.shape[1], image.shape[2]
    rows = resize_matrix(boxes.top, boxes.bottom, old=height, new=size)
    columns = resize_matrix(boxes.left, boxes.right, old=width, new=size)
    return _multiply(rows, image, columns)


def resize_matrix(first: tf.Tensor, last: tf.Tensor, *, old: int, new: int) -> tf.Tensor:
    """What a part of one axis of each image is multiplied by to be resized.

    Args:
      first: [batch] float32, where the part begins, in shares of the axis.
      last: [batch] float32, where it ends.
      old: places of the axis.
      new: places of the result.

    Returns:
      [batch, new, old] float32; each row sums to 1.
    """
    step = (last - first)[:, tf.newaxis, tf.newaxis] * (old / new)  # old places a new one
    place = tf.range(new, dtype=tf.float32)[:, tf.newaxis] + 0.5
    centre = first[:, tf.newaxis, tf.newaxis] * old + place * step  # [batch, new, 1]
    distance = tf.abs(tf.range(old, dtype=tf.float32) + 0.5 - centre)  # [batch, new, old]
    weight = _cubic(distance / tf.maximum(tf.abs(step), 1.0))
    return weight / tf.reduce_sum(weight, axis=-1, keepdims=True)


def _cubic(x: tf.Tensor) -> tf.Tensor:
    """Keys' cubic convolution kernel of distances from 0."""
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = _CUBIC * (((x - 5) * x + 8) * x - 4)
    return tf.where(x < 1, near, tf.where(x < 2, far, 0.0))


def _multiply(rows: tf.Tensor, image: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Multiplies both axes of images by matrices [batch, new, old]."""
    batch, height, width, channels = image.shape
    flat = tf.reshape(image, [-1, height, width * channels])
    tall = tf.matmul(rows, flat)  # [batch, new height, width * channels]
    new_height, new_width = rows.shape[1], columns.shape[1]
    tall = tf.reshape(tall, [-1, new_height, width, channels])
    # Width first, so that a second product does the other axis.
    wide = tf.reshape(tf.transpose(tall, [0, 2, 1, 3]), [-1, width, new_height * channels])
    wide = tf.reshape(tf.matmul(columns, wide), [-1, new_width, new_height, channels])
    return tf.ensure_shape(
        tf.transpose(wide, [0, 2, 1, 3]), [batch, new_height, new_width, channels]
    )


@dataclass(frozen=True)
class ColourJitter:
    """Changes brightness, contrast, saturation and hue of some images, in random order.

    Brightness is a factor, as in SimCLR v2 (in v1 it is added); contrast is that of each colour
    around its mean; saturation and hue are those of HSV. After each the image is clipped to [0, 1].
    All four are what tf.image.adjust_* does.

    Attributes:
      strength: of all four. SimCLR has 1.0 for ImageNet and 0.5 for CIFAR-10.
      probability: of changing an image at all.
    """

    strength: float = 1.0
    probability: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1.25:
            raise ValueError(f"strength must lie in 0 ... 1.25, got {self.strength}")
        _check_probability("probability", self.probability)

    @property
    def num_uniforms(self) -> int:
        return 6

    def __call__(self, image: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Changes images [batch, height, width, 3] float32 in [0, 1]; see `Augmentation`."""
        of_change, of_order, *of_factors = tf.unstack(uniforms, axis=-1)
        spread = 0.8 * self.strength
        factors = [1 + spread * (2 * uniform - 1) for uniform in of_factors[:3]]
        turn = 0.2 * self.strength * (2 * of_factors[3] - 1)
        # In floats throughout: integers are computed on the host, which a device would wait for.
        number = tf.floor(of_order * len(_ORDERS))[:, tf.newaxis]
        chosen = tf.cast(tf.equal(number, np.arange(len(_ORDERS), dtype=np.float32)), tf.float32)
        order = tf.matmul(chosen, _ORDERS)  # [batch, 4]
        changed = image
        for which in tf.unstack(order, axis=-1):
            changed = _adjust(changed, which, factors, turn)
        return _choose(of_change < self.probability, changed, image)


def _adjust(
    image: tf.Tensor, which: tf.Tensor, factors: list[tf.Tensor], turn: tf.Tensor
) -> tf.Tensor:
    """Brightness, contrast, saturation or hue of each image, as `which` [batch] 0 to 3 says."""
    largest = tf.reduce_max(image, axis=-1, keepdims=True)
    smallest = tf.reduce_min(image, axis=-1, keepdims=True)
    # The first three leave one colour as it is and stretch the distance of all others from it.
    fixed = _by_number(
        which, tf.zeros_like(image), tf.reduce_mean(image, axis=[1, 2], keepdims=True), largest
    )
    factor = _by_number(which, *[_per_image(each) for each in factors])
    # No colour can be more saturated than one of which a component is zero.
    most = tf.math.divide_no_nan(largest, largest - smallest)
    limit = tf.where((_per_image(which) == 2) & (largest > smallest), most, factor)
    stretched = fixed + tf.minimum(factor, limit) * (image - fixed)
    hsv = tf.image.rgb_to_hsv(image)
    hue = hsv[..., :1] + _per_image(turn)
    turned = tf.image.hsv_to_rgb(tf.concat([hue - tf.floor(hue), hsv[..., 1:]], axis=-1))
    return tf.clip_by_value(_choose(which == 3, turned, stretched), 0.0, 1.0)


def _by_number(which: tf.Tensor, first: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
    """The value whose number stands in `which` [batch], the first for all that have none."""
    chosen = first
    for number, value in enumerate(others, start=1):
        chosen = _choose(which == number, value, chosen)
    return chosen


def _per_image(values: tf.Tensor) -> tf.Tensor:
    """[batch] to [batch, 1, 1, 1]."""
    return values[:, tf.newaxis, tf.newaxis, tf.newaxis]


def _choose(condition: tf.Tensor, yes: tf.Tensor, no: tf.Tensor) -> tf.Tensor:
    """For each image one of two, by a condition [batch]."""
    return tf.where(_per_image(condition), yes, no)


@dataclass(frozen=True)
class RandomGrey:
    """Takes the colour from some images. Attributes: probability, of an image to lose it."""

    probability: float = 0.2

    def __post_init__(self) -> None:
        _check_probability("probability", self.probability)

    @property
    def num_uniforms(self) -> int:
        return 1

    def __call__(self, image: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Changes images [batch, height, width, 3] float32; see `Augmentation`."""
        grey = tf.reduce_sum(image * _GREY, axis=-1, keepdims=True)
        return _choose(uniforms[:, 0] < self.probability, tf.repeat(grey, 3, axis=-1), image)


@dataclass(frozen=True)
class RandomBlur:
    """Blurs some images by a Gaussian; its weights are those inside of the image, and sum to 1.

    Attributes:
      probability: of blurring an image.
      min_deviation: the smallest standard deviation, in pixels, above 0.
      max_deviation: the largest; uniform between both.
      radius_share: pixels farther away than this share of the height do not count; SimCLR's kernel
        is a tenth of the height wide.
    """

    probability: float = 0.5
    min_deviation: float = 0.1
    max_deviation: float = 2.0
    radius_share: float = 0.05

    def __post_init__(self) -> None:
        _check_probability("probability", self.probability)
        if not 0 < self.min_deviation <= self.max_deviation:
            raise ValueError(
                f"min_deviation={self.min_deviation} must be above 0 and at most "
                f"max_deviation={self.max_deviation}"
            )

    @property
    def num_uniforms(self) -> int:
        return 2

    def __call__(self, image: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Changes images [batch, height, width, 3] float32; see `Augmentation`."""
        spread = self.max_deviation - self.min_deviation
        deviation = self.min_deviation + spread * uniforms[:, 1]
        height, width = image.shape[1], image.shape[2]
        radius = max(1, math.floor(self.radius_share * height))
        blurred = _multiply(
            _gaussian(deviation, height, radius), image, _gaussian(deviation, width, radius)
        )
        return _choose(uniforms[:, 0] < self.probability, blurred, image)


def _gaussian(deviation: tf.Tensor, length: int, radius: int) -> tf.Tensor:
    """Matrices [batch, length, length] that blur an axis."""
    place = np.arange(length, dtype=np.float32)
    distance = place[:, np.newaxis] - place
    exponent = -(distance**2) / (2 * tf.square(deviation)[:, tf.newaxis, tf.newaxis])
    weight = tf.where(np.abs(distance) <= radius, tf.exp(exponent), 0.0)
    return weight / tf.reduce_sum(weight, axis=-1, keepdims=True)


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in 0 ... 1, got {value}")
