"""The encoder that smallest.gin names: making its graph takes a third of the time of others."""

import keras

import gin


@gin.configurable
def smallest_encoder(*, num_frames: int | None = None, num_mels: int = 64) -> keras.Model:
    """Log-mel [batch, frames, mels] to embedding [batch, 16]."""
    log_mel = keras.Input((num_frames, num_mels), name="log_mel")
    x = keras.layers.BatchNormalization(synchronized=True)(log_mel)
    x = keras.layers.Dense(16, activation="relu")(x)
    return keras.Model(log_mel, keras.layers.GlobalAveragePooling1D()(x), name="smallest")
