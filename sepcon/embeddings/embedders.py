"""Opens what turns waveform into vectors, and makes the two baselines of the benchmark.

An encoder of ours (pretraining run or SavedModel) or somebody else's SavedModel, by their paths;
log-mel statistics and an untrained encoder. Further ways to bring embeddings are in
`foreign_embedders` and `embedding_folder`.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd
from sepcon.data.clips import ClipDataset, to_float
from sepcon.embeddings.embedder import ClipEmbedder, Embedder
from sepcon.embeddings.foreign import saved_model
from sepcon.errors import SepconError
from sepcon.models.encoder_files import EncoderConfig, load_encoder, load_encoder_config
from sepcon.models.encoders import recalibrate_batch_norm
from sepcon.models.fingerprint import digest, encoder_fingerprint
from sepcon.models.model_file import MODEL_FILE
from sepcon.models.products.channel_embedding import Channels, with_channels
from sepcon.models.products.channel_pooling import ATTENTION
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.found_model import find_model
from sepcon.models.products.networks import load_network
from sepcon.models.products.saved_model import SAVED_MODEL_FOLDER, load_serving_function

# Classifiers are exported with their encoder's embedding beside the probabilities.
EMBEDDING_KINDS = ("encoder", "classifier")
# What every verb takes as a model: a path, or what one of the functions here has made.
Model = str | Path | ClipEmbedder


def load_embedder(model: Model, channels: Channels | None = None) -> ClipEmbedder:
    """Opens a model by its path.

    Args:
      model: a SavedModel folder, a run folder of `sepcon export` or of `sepcon pretrain` (its last
        state, patches half a patch apart), or an embedder, which is returned as it is.
      channels: a separator that is put in front of an encoder of sepcon, given by its path.

    Raises:
      SepconError: there is no model, or it cannot be read; or channels are asked for of a model
        that is no encoder of sepcon.
    """
    if channels is not None:
        return _embedder_with_channels(model, channels)
    if not isinstance(model, str | Path):
        return model
    found = find_model(model, *EMBEDDING_KINDS)
    if found.card is not None:
        function = load_serving_function(found.folder)
        return Embedder(found.card["fingerprint"], function, found.card["sample_rate_hz"])
    if found.is_saved_model:
        return saved_model(path=found.folder)
    loaded = load_encoder(found.folder)
    module = EmbeddingModel(loaded.encoder, loaded.log_mel, patch_seconds=loaded.patch_seconds)
    fingerprint = encoder_fingerprint(loaded.config, loaded.encoder, module)
    return Embedder(fingerprint, module, loaded.log_mel.sample_rate_hz)


def _embedder_with_channels(model: Model, channels: Channels) -> ClipEmbedder:
    if not isinstance(model, str | Path):
        raise SepconError(
            "channels: a separator is put in front of encoders of sepcon alone, given by their "
            "path; leave it out"
        )
    found = find_model(model, "encoder")
    encoder, config = load_network(found.folder)
    hop_seconds = None if found.card is None else float(found.card["hop_seconds"])
    made = with_channels(encoder, config, channels, hop_seconds=hop_seconds)
    rate = config.log_mel.sample_rate_hz
    if channels.pooling != ATTENTION:
        return Embedder(made.fingerprint, made.module, rate)

    def in_one_window(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        channels.check_one_window(waveform.shape[1] / rate, "a recording")
        return made.module(waveform)

    return Embedder(made.fingerprint, in_one_window, rate, made.module)


def encoder_size(model: str | Path) -> int:
    """Returns how many numbers an encoder of sepcon gives.

    Raises:
      SepconError: there is no such encoder.
    """
    found = find_model(model, "encoder")
    if found.card is not None:
        return int(found.card["embedding_size"])
    return int(load_network(found.folder)[0].output_shape[-1])


def load_reference_config(model: str | Path) -> EncoderConfig:
    """Returns the encoder's description from a pretraining run, an export, or its SavedModel.

    Raises:
      SepconError: there is none.
    """
    folder = Path(model)
    places = (folder, folder / "assets", folder / SAVED_MODEL_FOLDER / "assets")
    for place in places:
        if (place / MODEL_FILE).is_file():
            return load_encoder_config(place / MODEL_FILE)
    raise SepconError(f"{folder} does not describe an encoder of sepcon: it has no {MODEL_FILE}.")


def log_mel_statistics(log_mel: FrontEnd) -> Embedder:
    """The first baseline: mean and standard deviation over time of each log-mel band.

    The embedding is [batch, 2 * mels]. A clip shorter than one window is padded to it.
    """

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def function(waveform: tf.Tensor) -> tf.Tensor:
        missing = tf.maximum(log_mel.num_samples(1) - tf.shape(waveform)[1], 0)
        frames = log_mel(tf.pad(waveform, [[0, 0], [0, missing]]))  # [batch, frames, mels]
        return tf.concat(
            [tf.reduce_mean(frames, axis=1), tf.math.reduce_std(frames, axis=1)], axis=1
        )

    return Embedder(digest("log_mel_statistics", repr(log_mel)), function, log_mel.sample_rate_hz)


def untrained_encoder(
    config: EncoderConfig, *, clips: ClipDataset, seed: int, num_clips: int = 256
) -> Embedder:
    """The second baseline: the same encoder with random weights, patches half a patch apart.

    Batch normalisation gets the statistics of real audio, as it would by training: without them
    this baseline would be weaker than it need be.

    Args:
      config: which encoder.
      clips: what the statistics are of; labels are not looked at.
      seed: of the weights. Sets the global seeds of Keras, numpy and Python.
      num_clips: how many clips, the first ones; of each the patch in its middle.
    """
    keras.utils.set_random_seed(seed)
    encoder = config.build()
    samples = round(config.patch_seconds * config.log_mel.sample_rate_hz)
    audio = [clip["audio"] for clip in clips.build().take(num_clips).as_numpy_iterator()]
    patches = np.stack([_middle(waveform, samples) for waveform in audio])
    recalibrate_batch_norm(encoder, [config.log_mel(to_float(patches))])
    module = EmbeddingModel(encoder, config.log_mel, patch_seconds=config.patch_seconds)
    fingerprint = encoder_fingerprint(config, encoder, module)
    return Embedder(fingerprint, module, config.log_mel.sample_rate_hz)


def _middle(waveform: np.ndarray, samples: int) -> np.ndarray:
    start = max(0, (len(waveform) - samples) // 2)
    patch = waveform[start : start + samples]
    return np.pad(patch, (0, samples - len(patch)))
