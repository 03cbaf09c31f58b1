"""Imported images as the examples of a training stream."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import tensorflow as tf

from sepcon.data.examples import Example, ReadExample
from sepcon.data.prepared import parse, parse_labels
from sepcon.errors import SepconError
from sepcon.importing.imported import OpenPart, Part, open_part

_CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class ImageExamples:
    """Images, all squeezed to squares of one size when they were imported; see `Examples`.

    An example holds `id` string [], `image` uint8 [side, side, 3], `aspect` float32 [], the width
    that the image had divided by its height, and `labels` float32 [classes].

    Attributes:
      opened: where they are.
    """

    opened: OpenPart

    @property
    def name(self) -> str:
        return self.opened.name

    @property
    def num_examples(self) -> int:
        return len(self.opened.positions)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.opened.class_names

    @property
    def num_uniforms(self) -> int:
        """None: nothing is random in reading an image."""
        return 0

    @functools.cached_property
    def side(self) -> int:
        """Height and width of every image in pixels.

        Raises:
          SepconError: the first record holds no image.
        """
        files = self.opened.files
        record = tf.train.Example.FromString(files.bytes_at(int(self.opened.positions[0])))
        pixels = record.features.feature["pixels"].bytes_list.value
        side = math.isqrt(len(pixels[0]) // _CHANNELS) if pixels else 0
        if not side or len(pixels[0]) != side * side * _CHANNELS:
            raise SepconError(f"{files.paths[0]}: holds no images; import them again")
        return side

    def reader(self) -> ReadExample:
        """See `Examples`."""
        side, files, num_classes = self.side, self.opened.files, len(self.class_names)
        table = tf.constant(self.opened.positions)

        def read(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
            del uniforms
            serialized = files.read(tf.gather(table, position))
            features = {"id": tf.string, "pixels": tf.string, "width": tf.int64, "height": tf.int64}
            row = parse(serialized, features)
            pixels = tf.io.decode_raw(row["pixels"], tf.uint8)
            return {
                "id": row["id"],
                "image": tf.reshape(pixels, [side, side, _CHANNELS]),
                "aspect": tf.cast(tf.divide(row["width"], row["height"]), tf.float32),
                "labels": parse_labels(serialized, num_classes),
            }

        return read


def imported_images(
    *,
    path: str | Sequence[str],
    part: Part = "all",
    validation_share: float = 0.1,
    test_share: float = 0.0,
    test_folds: Sequence[int | str] = (),
    folds: Sequence[int | str] = (),
    exclude: str | Sequence[str] = (),
) -> ImageExamples:
    """Returns imported images as examples, in the order of their source.

    The parts are drawn as those of clips are, by a hash of the id of each: none changes sides when
    others come.

    Args:
      path: the folder of an import of images, or several of the same classes and size.
      part: "train", "validation", "test", or "all" of them.
      validation_share: of the images that are not for testing.
      test_share: of the images, where no `test_folds` are given.
      test_folds: the folds that are for testing, such as "test" of CIFAR-10.
      folds: only these folds are looked at; empty for all.
      exclude: ids or files of images to leave out, or a file with one in each line.

    Raises:
      SepconError: there is no finished import of images, the classes differ, or nothing is in the
        part.
    """
    opened = open_part(
        path,
        content="images",
        part=part,
        validation_share=validation_share,
        test_share=test_share,
        test_folds=test_folds,
        folds=folds,
        exclude=exclude,
    )
    examples = ImageExamples(opened)
    _ = examples.side  # What is wrong with the records is told at once.
    return examples
