"""From a batch of images to two augmented parts of each: the views of images (SimCLR)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from sepcon.data.examples import Examples
from sepcon.errors import SepconError
from sepcon.importing.imported_images import ImageExamples
from sepcon.models.images.encoder_files import save_image_encoder_config
from sepcon.training.task import Summaries
from sepcon.views.augment import Augmentation, Chain, split_uniforms
from sepcon.views.image_augment import RandomResizedCrop, centre_boxes, crop_and_resize
from sepcon.views.sampler import Views

_MAX_SUMMARIES = 4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageViews:
    """Cuts two parts of each image, mirrors and changes them; see `BatchViews`.

    A batch holds 'image' uint8 [batch, side, side, 3], 'aspect' float32 [batch], the width that
    each image had divided by its height, and 'uniforms' float32 [batch, num_uniforms]. Views are
    [batch, size, size, 3] float32 in [0, 1].

    Attributes:
      crop: cuts the parts.
      anchor_augmentations: applied to the parts of the anchors, in this order.
      positive_augmentations: the same for the positives.
      centre_share: share of the shorter side that evaluation sees, see `centre_boxes`.
    """

    crop: RandomResizedCrop
    anchor_augmentations: Sequence[Augmentation] = ()
    positive_augmentations: Sequence[Augmentation] = ()
    centre_share: float = 0.875

    def __post_init__(self) -> None:
        if not 0 < self.centre_share <= 1:
            raise ValueError(f"centre_share={self.centre_share} must be above 0 and at most 1")

    @property
    def num_uniforms(self) -> int:
        return sum(self._widths)

    @property
    def encoder_arguments(self) -> Mapping[str, int]:
        """`image_size`, height and width of a view."""
        return {"image_size": self.crop.size}

    def opened(self, examples: Examples) -> ImageViews:
        """Checks that the examples are images.

        Raises:
          SepconError: they are not.
        """
        if not isinstance(examples, ImageExamples):
            raise SepconError(
                f"{examples.name}: ImageViews are made of images, got {type(examples).__name__}; "
                "bind imported_images, or the views of that kind of example"
            )
        return self

    def drawn_from(self, examples: Examples, *, plain: bool = False) -> Examples:
        """See `BatchViews`: images are read whole, and nothing is random in that."""
        del plain
        return examples

    def __call__(self, batch: dict[str, tf.Tensor]) -> Views:
        """Both augmented parts of each image, [batch, size, size, 3] float32 each."""
        return Views(*self._parts(batch, 2))

    def single(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Those of the anchors alone, [batch, size, size, 3] float32, at half the cost."""
        return self._parts(batch, 1)[0]

    def plain(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The square in the middle of each image, [batch, size, size, 3] float32."""
        boxes = centre_boxes(batch["aspect"], self.centre_share)
        return _clip(crop_and_resize(_as_float(batch["image"]), boxes, self.crop.size))

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """The first examples of a batch: images and views, [n, size, size, 3] float32 each."""
        first = {name: value[:_MAX_SUMMARIES] for name, value in batch.items()}
        views = self(first)._asdict()
        return Summaries(images={"image": self.plain(first), **views})

    def save_description(self, run_dir: str | Path, encoder: keras.Model) -> None:
        """Writes model.json with the encoder and the size of what it sees."""
        save_image_encoder_config(run_dir=run_dir, encoder=encoder, image_size=self.crop.size)

    def _parts(self, batch: dict[str, tf.Tensor], count: int) -> list[tf.Tensor]:
        """The first `count` views."""
        uniforms = split_uniforms(batch["uniforms"], self._widths)
        image = _as_float(batch["image"])
        parts = []
        for side, chain in enumerate(self._chains[:count]):
            to_crop, to_chain = uniforms[2 * side : 2 * side + 2]
            part = _clip(self.crop(image, batch["aspect"], to_crop))
            parts.append(chain(part, to_chain))
        return parts

    @property
    def _chains(self) -> tuple[Chain, Chain]:
        return Chain(tuple(self.anchor_augmentations)), Chain(tuple(self.positive_augmentations))

    @property
    def _widths(self) -> list[int]:
        """Columns of the crop and of the augmentations of the anchor, then of the positive."""
        return [
            width
            for chain in self._chains
            for width in (self.crop.num_uniforms, chain.num_uniforms)
        ]


def _as_float(pixels: tf.Tensor) -> tf.Tensor:
    return tf.cast(pixels, tf.float32) / 255.0


def _clip(image: tf.Tensor) -> tf.Tensor:
    """A cubic kernel overshoots at edges."""
    return tf.clip_by_value(image, 0.0, 1.0)
