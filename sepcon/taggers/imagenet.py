"""EfficientNet-Lite0 with its last layer, as a tagger of pictures into the classes of ImageNet."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import special

from sepcon.errors import SepconError
from sepcon.images.square import squeeze
from sepcon.importing.clip_source import Clip
from sepcon.taggers.model_files import leave_cores_to_others
from sepcon.taggers.tagger import Sees, file_digest, read_class_names

_CLASSES = 1000
_SIDE, _OFFSET, _SCALE = 224, 127.0, 128.0


@dataclasses.dataclass(frozen=True)
class ImageNetTagger:
    """EfficientNet-Lite0 as it was trained on ImageNet, of the extra `lite0`.

    Its classes exclude each other, so their probabilities sum to 1: what is a label needs a
    threshold of its own.

    Attributes:
      name: what the scores are called by.
      classes: file with the names of its 1,000 classes; without one they are called by number.
      weights: "imagenet" for the packaged ones, or the path of their file.
    """

    name: str = "imagenet"
    classes: str = ""
    weights: str = "imagenet"

    @property
    def sees(self) -> Sees:
        return "pictures"

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of its classes, in the order of ImageNet.

        Raises:
          SepconError: the file does not name 1,000 of them.
        """
        if not self.classes:
            return tuple(f"ImageNet class {number}" for number in range(_CLASSES))
        names = read_class_names(self.classes)
        if len(names) != _CLASSES:
            raise SepconError(f"{self.classes}: has {len(names)} classes, expected {_CLASSES}")
        return names

    @functools.cached_property
    def digest(self) -> str:
        from sepcon.models.images.lite_weights import packaged_file

        return file_digest(packaged_file() if self.weights == "imagenet" else Path(self.weights))

    @property
    def rule(self) -> str:
        return f"squares of {_SIDE} pixels, softmax"

    def scores(self, clip: Clip) -> np.ndarray:
        """See `Tagger`."""
        assert clip.pictures is not None
        squares = np.stack([squeeze(picture, _SIDE) for picture in clip.pictures])
        logits = _network(self.weights)((squares.astype(np.float32) - _OFFSET) / _SCALE)
        return special.softmax(logits, axis=1)


@functools.lru_cache(maxsize=1)
def _network(weights: str) -> Callable[[np.ndarray], np.ndarray]:
    """The network, as one graph for any number of pictures."""
    import tensorflow as tf

    from sepcon.models.images.networks import efficientnet_lite0_network

    leave_cores_to_others()
    network = efficientnet_lite0_network(include_top=True, weights=weights)
    shape = tf.TensorSpec([None, _SIDE, _SIDE, 3])
    graph = tf.function(
        lambda pixels: network(pixels, training=False), input_signature=[shape], autograph=False
    )
    return lambda pixels: graph(pixels).numpy()
