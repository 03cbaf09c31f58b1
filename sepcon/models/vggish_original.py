"""VGGish as it was published, to compare its improved form (`vggish`) with."""

from __future__ import annotations

import keras

from sepcon.errors import SepconError
from sepcon.models.encoder_input import InputShape


def vggish_original(
    *,
    embedding_size: int = 128,
    hidden_units: int = 4096,
    num_frames: int | None = None,
    num_mels: int = 64,
    num_maps: int = 1,
    image_size: int | None = None,
) -> keras.Model:
    """VGGish (Hershey et al., 2017) without batch normalisation, on patches of one length.

    Four blocks of convolutions, then two fully connected layers on the flattened map
    and a linear one: 72 million weights on the published patches of 96 frames and 64 bands.
    The normalisation of the bands, with which all encoders here begin, stands for the published
    constants of the log-mel.

    Args:
      embedding_size: size of the embedding.
      hidden_units: of the two fully connected layers.
      num_frames: frames of a patch, at least 16; they are of one number.
      num_mels: mel bands of all maps, at least 16 each.
      num_maps: log-mel maps, see `InputShape`.
      image_size: height and width of images in place of log-mel patches.

    Returns:
      A model, log_mel [batch, frames, mels] float32 -> embedding [batch, embedding_size] float32.

    Raises:
      SepconError: patches may have any length.
    """
    if num_frames is None and image_size is None:
        raise SepconError(
            "vggish_original: takes patches of one length alone; give num_frames, or take vggish"
        )
    seen, x = InputShape(num_frames, num_mels, num_maps, image_size).normalised()
    if image_size is None:
        # With its length, which what comes before has lost.
        x = keras.layers.Reshape((num_frames, num_mels // num_maps, num_maps))(x)
    for block, channels in enumerate(((64,), (128,), (256, 256), (512, 512))):
        for each in channels:
            x = keras.layers.Conv2D(each, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool_{block}")(x)
    x = keras.layers.Flatten()(x)
    for _ in range(2):
        x = keras.layers.Dense(hidden_units, activation="relu")(x)
    embedding = keras.layers.Dense(embedding_size, name="embedding")(x)
    return keras.Model(seen, embedding, name="vggish_original")
