"""Any prepared TFDS data set with images in it, such as `imagenet2012` or `cifar10`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

from sepcon.data.prepared import open_builder, split_records
from sepcon.data.records import RecordFiles
from sepcon.datasets.images.folder import check_side, side_setting
from sepcon.datasets.tfds import label_feature, label_names
from sepcon.errors import FileError, SepconError
from sepcon.images.decode import decode_image_bytes
from sepcon.importing.clip_source import NO_KNOWN_LABEL, ClipReference, ClipSource, Loaded

_IMAGE = "image"


def tfds_images(*, path: str, side: int) -> ClipSource:
    """Returns the images of all splits of a prepared TFDS data set; the fold is the split.

    Args:
      path: its folder, which holds `dataset_info.json`.
      side: height and width in pixels of the squares that images are squeezed to.

    Raises:
      SepconError: there is none, or it has no images; `side` is below 2, or Pillow is not
        installed.
    """
    folder, side = Path(path).expanduser(), check_side(side)
    builder = open_builder(folder)
    features = builder.info.features
    if _IMAGE not in features or not isinstance(features[_IMAGE], tfds.features.Image):
        raise SepconError(
            f"{builder.data_dir}: has features {', '.join(features)}, expected "
            f"{_IMAGE}; give another data set"
        )
    references = [
        ClipReference(id=f"{split}-{number}", source=split, row=number, fold=split)
        for split, info in sorted(builder.info.splits.items())
        for number in range(info.num_examples)
    ]
    label = label_feature(builder)
    names = () if label is None else label_names(builder, label)
    return ClipSource(
        builder.name,
        names,
        references,
        TfdsImageReader(folder, side, label),
        content="images",
        settings=side_setting(side),
    )


@dataclasses.dataclass(frozen=True)
class TfdsImageReader:
    """Reads images that are records of a TFDS data set.

    Attributes:
      folder: of the data set.
      side: height and width of the squares in pixels.
      label: the feature that holds the class, if there is one.
    """

    folder: Path
    side: int
    label: str | None

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        for reference in references:
            assert reference.row is not None, reference
            record = _records(self.folder, reference.source).bytes_at(reference.row)
            # TFDS keeps an image as the file that it was.
            features = tf.train.Example.FromString(record).features.feature
            read = reference
            if self.label is not None:
                labels = tuple(n for n in features[self.label].int64_list.value if n >= 0)
                reason = "" if labels else NO_KNOWN_LABEL
                read = dataclasses.replace(reference, labels=tuple(sorted(labels)), reason=reason)
            try:
                data = features[_IMAGE].bytes_list.value[0]
                yield read, decode_image_bytes(data, reference.id, self.side)
            except FileError as fault:
                yield read, fault


@functools.lru_cache(maxsize=8)
def _records(folder: Path, split: str) -> RecordFiles:
    return split_records(open_builder(folder), [split])
