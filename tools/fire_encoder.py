"""The encoder that small.gin of `fire_house` names."""

from __future__ import annotations

import keras

import gin


@gin.configurable
def fire_encoder(*, num_frames: int | None = None, num_mels: int = 64) -> keras.Model:
    """The narrowest encoder that still has what others have: strides, batch norm, pooling."""
    log_mel = keras.Input((num_frames, num_mels), name="log_mel")
    x = keras.layers.BatchNormalization(center=False, scale=False, momentum=0.5)(log_mel)
    x = keras.layers.Reshape((-1, num_mels, 1))(x)
    x = keras.layers.Conv2D(8, (8, 4), strides=(4, 4), use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.5)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(log_mel, keras.layers.Dense(8)(x), name="fire")
