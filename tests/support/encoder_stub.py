"""A small encoder in a run folder as pretraining leaves it, for the tests of export and after."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.models.encoder_files import save_encoder_config
from sepcon.models.weights import state_folder, write_weights

LOG_MEL = LogMel(num_mels=16)
PATCH_SECONDS = 0.5  # 48 frames at 25 ms / 10 ms
PATCH_FRAMES = 48


def small_encoder(seed: int = 0, dim: int = 8) -> keras.Model:
    """Three layers and every statistic of its normalisation off its default."""
    keras.utils.set_random_seed(seed)
    log_mel = keras.Input((PATCH_FRAMES, LOG_MEL.num_mels))
    x = keras.layers.BatchNormalization()(log_mel)
    x = keras.layers.Reshape((PATCH_FRAMES, LOG_MEL.num_mels, 1))(x)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(log_mel, keras.layers.Dense(dim)(x))
    model(tf.random.stateless_normal([8, PATCH_FRAMES, LOG_MEL.num_mels], [seed, 1]), training=True)
    return model


def write_run(run_dir: Path, steps: tuple[int, ...] = (10,), dim: int = 8) -> keras.Model:
    """Writes a run whose state at each step is `small_encoder(step)`; returns the last encoder."""
    save_encoder_config(
        run_dir=run_dir,
        encoder=small_encoder(0, dim),
        log_mel=LOG_MEL,
        patch_seconds=PATCH_SECONDS,
    )
    for step in steps:
        encoder = small_encoder(step, dim)
        write_weights(encoder, state_folder(run_dir, step))
    return encoder


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=shape).astype(np.float32)
