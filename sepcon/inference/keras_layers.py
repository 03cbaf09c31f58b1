"""Waveform to embedding as Keras layers that can be trained further, saved and loaded.

Importing this module makes their names known to Keras: `keras.saving.load_model` needs that.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd, ResizedLogMelMaps, read_front_end
from sepcon.errors import SepconError
from sepcon.models.products.patch_embedder import patch_starts


def waveform_model(
    encoder: keras.Model, *, log_mel: FrontEnd, patch_seconds: float, hop_seconds: float
) -> keras.Model:
    """Puts a front-end before an encoder, and the mean over the patches behind it.

    Args:
      encoder: log-mel [batch, frames, mels] -> embedding [batch, dim]; becomes part of the model.
      log_mel: its front-end.
      patch_seconds: the length of what it sees.
      hop_seconds: time between the starts of patches, rounded to frames.

    Returns:
      waveform [batch, samples] float32 in [-1, 1], of any length -> embedding [batch, dim].
    """
    waveform = keras.Input((None,), dtype="float32", name="waveform")
    patches = LogMelPatches(
        dataclasses.asdict(log_mel), patch_seconds, hop_seconds, name="log_mel_patches"
    )(waveform)
    embedding = MeanOfPatches(encoder, name="embedding")(patches)
    return keras.Model(waveform, embedding, name=f"waveform_{encoder.name}")


@keras.saving.register_keras_serializable(package="sepcon")
class LogMelPatches(keras.layers.Layer):
    """Waveform [batch, samples] to log-mel patches [batch, patches, frames, mels], float32.

    They lie as those of `EmbeddingModel`.

    Args:
      log_mel: the settings of `LogMel` or `LogMelMaps`.
      patch_seconds: length of a patch.
      hop_seconds: time between the starts of patches, rounded to frames.
    """

    def __init__(
        self, log_mel: dict[str, Any], patch_seconds: float, hop_seconds: float, **kwargs: Any
    ) -> None:
        # The front-end is computed in float32 whatever the policy is.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self._settings = dict(log_mel)
        front_end = read_front_end(log_mel)
        if isinstance(front_end, ResizedLogMelMaps):
            raise SepconError(
                "this encoder sees log-mel maps that are resized patch by patch, of which there is "
                "no Keras layer; take its SavedModel"
            )
        self._log_mel = front_end
        self._patch_seconds, self._hop_seconds = patch_seconds, hop_seconds

    def call(self, waveform: tf.Tensor) -> tf.Tensor:
        log_mel = self._log_mel
        rate, frame_hop = log_mel.sample_rate_hz, log_mel.hop_samples
        samples = tf.shape(waveform)[1]
        patch_samples = round(self._patch_seconds * rate)
        starts, num_frames = patch_starts(
            samples,
            patch_samples=patch_samples,
            frame_hop=frame_hop,
            hop_frames=max(1, round(self._hop_seconds * rate / frame_hop)),
            patch_frames=log_mel.num_frames(patch_samples),
        )
        needed = (num_frames - 1) * frame_hop + log_mel.window_samples
        waveform = tf.pad(waveform, [[0, 0], [0, tf.maximum(needed - samples, 0)]])
        frames = log_mel.log_power(waveform)  # [batch, frames, mels]
        within = tf.range(log_mel.num_frames(patch_samples))
        patches = tf.gather(frames, starts[:, tf.newaxis] + within, axis=1)
        return log_mel.scale(patches)  # [batch, patches, frames, mels]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        log_mel = self._log_mel
        frames = log_mel.num_frames(round(self._patch_seconds * log_mel.sample_rate_hz))
        return (input_shape[0], None, frames, log_mel.num_mels)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "log_mel": self._settings,
            "patch_seconds": self._patch_seconds,
            "hop_seconds": self._hop_seconds,
        }


@keras.saving.register_keras_serializable(package="sepcon")
class MeanOfPatches(keras.layers.Layer):
    """Embeds patches [batch, patches, frames, mels] and averages them: [batch, dim] float32.

    Args:
      encoder: log-mel [batch, frames, mels] -> embedding [batch, dim].
    """

    def __init__(self, encoder: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        del input_shape  # The encoder has its weights already.
        self.built = True

    def call(self, patches: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        shape = tf.shape(patches)
        each = tf.reshape(patches, [shape[0] * shape[1], *patches.shape[2:]])
        embedding = tf.cast(self.encoder(each, training=training), tf.float32)
        by_clip = tf.reshape(embedding, [shape[0], shape[1], self.encoder.output_shape[-1]])
        return tf.reduce_mean(by_clip, axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.encoder.output_shape[-1])

    def get_config(self) -> dict[str, Any]:
        encoder = keras.saving.serialize_keras_object(self.encoder)
        return super().get_config() | {"encoder": encoder}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MeanOfPatches:
        """Builds the layer, and its encoder with fresh weights."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**{**config, "encoder": encoder})
