"""What encoders take: log-mel patches, several maps of one side by side, or images."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from sepcon.models.batch_norm import BatchNormalization

# Lower than the usual 0.99 for short runs: statistics from 50 steps ago are gone.
MOMENTUM = 0.95
LOG_MEL, IMAGE = "log_mel", "image"
_COLOURS = 3


@dataclass(frozen=True)
class InputShape:
    """The shape of an encoder's input, of sound or of images.

    Attributes:
      num_frames: frames of a patch, or None for any number.
      num_mels: mel bands of all maps together.
      num_maps: log-mel maps of one patch, which lie side by side on the mel axis.
      image_size: height and width of an image; None for sound.
    """

    num_frames: int | None = None
    num_mels: int = 64
    num_maps: int = 1
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.num_maps < 1 or self.num_mels % self.num_maps:
            raise ValueError(
                f"num_mels={self.num_mels} are not those of num_maps={self.num_maps} maps"
            )

    @property
    def channels(self) -> int:
        """Channels of what `normalised` returns."""
        return self.num_maps if self.image_size is None else _COLOURS

    def normalised(self) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The input of a model, and it as a picture whose bands or colours are normalised.

        The normalisation is by running statistics, which are weights of the model. Without gain and
        offset, gradients need not pass through the input of the first convolution.

        Returns:
          the input, log_mel [batch, frames, mels] or image [batch, height, width, 3]; and a map
          [batch, frames, mels of a map, channels] or [batch, height, width, 3].
        """
        if self.image_size is not None:
            image = keras.Input((self.image_size, self.image_size, _COLOURS), name=IMAGE)
            return image, _normalisation("normalize_colours")(image)
        log_mel = keras.Input((self.num_frames, self.num_mels), name=LOG_MEL)
        x = _normalisation("normalize_mels")(log_mel)
        if self.num_maps == 1:
            return log_mel, keras.layers.Reshape((-1, self.num_mels, 1))(x)
        x = keras.layers.Reshape((-1, self.num_maps, self.num_mels // self.num_maps))(x)
        return log_mel, keras.layers.Permute((1, 3, 2))(x)


def is_input_normalisation(layer: keras.layers.Layer) -> bool:
    """Whether a layer is the normalisation of an encoder's input."""
    return layer.name in ("normalize_mels", "normalize_colours")


def _normalisation(name: str) -> keras.layers.Layer:
    return BatchNormalization(
        center=False, scale=False, momentum=MOMENTUM, synchronized=True, name=name
    )
