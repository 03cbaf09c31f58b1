"""The common interface of the HEAR benchmark: `hear-validator sepcon.inference.hear`.

HEAR (Turian et al., 2022) asks a module for three functions and a model that is a `tf.Module` with
the attributes `sample_rate`, `scene_embedding_size` and `timestamp_embedding_size`. Times are in
milliseconds and are the middles of patches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.models.packaged import default_weights
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.networks import load_network

_HOP_SECONDS = 0.05
# The rates that HEAR's tasks come in.
_RATES_HZ = (16000, 22050, 44100, 48000)


class HearModel(tf.Module):
    """An encoder of sepcon, as HEAR wants it.

    Attributes:
      sample_rate: in Hz.
      scene_embedding_size: numbers for a sound.
      timestamp_embedding_size: numbers for a moment.
    """

    def __init__(self, model: str | Path) -> None:
        super().__init__(name="hear_model")
        encoder, config = load_network(model)
        log_mel, patch_seconds = config.log_mel, config.patch_seconds
        if log_mel.sample_rate_hz not in _RATES_HZ:
            raise SepconError(
                f"{model}: hears {log_mel.sample_rate_hz} Hz, but HEAR has {_RATES_HZ} alone"
            )
        # A hop is a whole number of frames, and no longer than HEAR wants it.
        frame_hop = log_mel.hop_samples / log_mel.sample_rate_hz
        hop_seconds = max(1, int(_HOP_SECONDS / frame_hop + 1e-6)) * frame_hop
        self.scenes = EmbeddingModel(encoder, log_mel, patch_seconds=patch_seconds)
        self.moments = EmbeddingModel(
            encoder, log_mel, patch_seconds=patch_seconds, hop_seconds=hop_seconds
        )
        self.hop_samples = round(self.moments.exact_hop_seconds * log_mel.sample_rate_hz)
        self.patch_samples = round(patch_seconds * log_mel.sample_rate_hz)
        self.sample_rate: int = log_mel.sample_rate_hz
        self.scene_embedding_size = int(encoder.output_shape[-1])
        self.timestamp_embedding_size = self.scene_embedding_size


def load_model(model_file_path: str | Path = "") -> HearModel:
    """Loads an encoder.

    Args:
      model_file_path: a run folder of `sepcon pretrain`, an export of one, or a name of packaged
        weights; by default those of the package.

    Raises:
      SepconError: there is no such encoder.
    """
    return HearModel(model_file_path or default_weights("encoder"))


def get_scene_embeddings(audio: Any, model: HearModel) -> tf.Tensor:
    """Embeds whole sounds: the mean of their patches, as everywhere in sepcon.

    Args:
      audio: [sounds, samples] float32 in [-1, 1] at `model.sample_rate`.
      model: of `load_model`.

    Returns:
      [sounds, scene_embedding_size] float32.
    """
    return model.scenes(_checked(audio))["embedding"]


def get_timestamp_embeddings(audio: Any, model: HearModel) -> tuple[tf.Tensor, tf.Tensor]:
    """Embeds every moment of sounds, one each 50 ms, by the patch around it.

    The sounds are padded with half a patch of silence at both ends, so that the first moment is the
    beginning of a sound and the last is within one hop of its end.

    Args:
      audio: [sounds, samples] float32 in [-1, 1] at `model.sample_rate`.
      model: of `load_model`.

    Returns:
      Embeddings [sounds, moments, timestamp_embedding_size] float32, and the middles of their
      patches in milliseconds, [sounds, moments] float32, evenly spaced.
    """
    waveform = _checked(audio)
    samples = waveform.shape[1]
    num_moments = 1 + samples // model.hop_samples
    before = model.patch_samples // 2
    # As long as the last patch needs it, so that none is moved to end with the sound.
    whole = (num_moments - 1) * model.hop_samples + model.patch_samples
    padded = tf.pad(waveform, [[0, 0], [before, max(0, whole - before - samples)]])[:, :whole]
    outputs = model.moments(padded)
    milliseconds = tf.range(num_moments, dtype=tf.float32) * (
        1000.0 * model.hop_samples / model.sample_rate
    )
    return outputs["patch_embedding"], tf.tile(milliseconds[tf.newaxis], [waveform.shape[0], 1])


def _checked(audio: Any) -> tf.Tensor:
    waveform = tf.convert_to_tensor(audio, tf.float32)
    if waveform.shape.rank != 2:
        raise SepconError(
            f"audio: got shape {waveform.shape}, expected [sounds, samples] float32 in [-1, 1]"
        )
    return waveform
