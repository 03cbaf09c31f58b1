"""An encoder behind one call, and as a Keras model to train further."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.inference.keras_layers import waveform_model
from sepcon.inference.separator import Separator
from sepcon.inference.waveform import mono
from sepcon.models.encoder_files import EncoderConfig, load_encoder
from sepcon.models.fingerprint import encoder_fingerprint
from sepcon.models.packaged import describe
from sepcon.models.products.channel_embedding import Channels, with_channels
from sepcon.models.products.channel_pooling import Pooling
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.found_model import FoundModel
from sepcon.models.products.networks import encoder_of_saved_model
from sepcon.models.products.saved_model import load_serving_function

Waveforms = Callable[[tf.Tensor], dict[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class ClipEmbedding:
    """The embedding of a recording, or of several of one length, which add a batch axis.

    Attributes:
      clip: [dim] float32, the mean over the patches.
      patches: [patches, dim] float32.
      start_seconds: [patches] float32, where each patch starts.
      patch_seconds: how long each patch is.
    """

    clip: npt.NDArray[np.float32]
    patches: npt.NDArray[np.float32]
    start_seconds: npt.NDArray[np.float32]
    patch_seconds: float


@dataclasses.dataclass(frozen=True, repr=False)
class Encoder:
    """Turns recordings into embeddings; made by `sepcon.load`.

    Attributes:
      name: what it was loaded by.
      function: waveform [batch, samples] float32 -> 'embedding', 'patch_embedding' and
        'patch_time_seconds'.
      card: what is known of it: of packaged weights and exports their model card.
      network: makes the network with its weights, and its description.
    """

    name: str
    function: Waveforms
    card: dict[str, Any]
    network: Callable[[], tuple[keras.Model, EncoderConfig]]

    @property
    def sample_rate_hz(self) -> int:
        """The rate that it hears; recordings of other rates are resampled."""
        return int(self.card["sample_rate_hz"])

    @property
    def embedding_size(self) -> int:
        """Numbers in an embedding."""
        return int(self.card["embedding_size"])

    @property
    def patch_seconds(self) -> float:
        """The length of what it hears at once."""
        return float(self.card["patch_seconds"])

    @property
    def hop_seconds(self) -> float:
        """From the start of one patch to that of the next."""
        return float(self.card["hop_seconds"])

    def embed(self, waveform: Any, *, sample_rate_hz: int) -> ClipEmbedding:
        """Embeds a recording, or several of one length.

        Args:
          waveform: as `sepcon.inference.waveform.mono` takes it: array or tensor, float or integer;
            [samples], [samples, channels], [batch, samples] or [batch, samples, channels].
          sample_rate_hz: of the waveform.

        Raises:
          SepconError: the waveform or its rate is nothing of the kind.
        """
        heard = mono(waveform, sample_rate_hz=sample_rate_hz, wanted_hz=self.sample_rate_hz)
        outputs = self.function(tf.constant(heard.waveform))
        return ClipEmbedding(
            heard.as_given(outputs["embedding"].numpy()),
            heard.as_given(outputs["patch_embedding"].numpy()),
            outputs["patch_time_seconds"].numpy(),
            self.patch_seconds,
        )

    def keras_model(self) -> keras.Model:
        """Returns a Keras model to train further: waveform [batch, samples] to [batch, dim].

        It has weights of its own, a copy of these. The waveform is float32 in [-1, 1] at
        `sample_rate_hz`, of any length, and is cut into patches as `embed` does. It can be saved as
        `.keras`; the process that loads it imports `sepcon.inference.keras_layers` first.

        Raises:
          SepconError: this is an export of an early version, which has no description inside.
        """
        network, config = self.network()
        return waveform_model(
            network,
            log_mel=config.log_mel,
            patch_seconds=config.patch_seconds,
            hop_seconds=self.hop_seconds,
        )

    def with_channels(
        self,
        separator: str | Path | Separator,
        *,
        step: int | None = None,
        pooling: Pooling = "both",
        audible_share: float = 0.01,
        window_seconds: float = 10.0,
    ) -> Encoder:
        """Returns this encoder with a separator in front of it.

        Its embeddings begin with those of this one. Behind them are the pooled embeddings of the
        channels that the separator makes of each patch.

        Args:
          separator: one that was loaded, or by its path: a run folder of `sepcon train_separator`,
            an export of one, or a name of packaged weights.
          step: a state of the run folder, the last one by default, or that which was loaded.
          pooling: over the audible channels: "maximum", "mean", or "both", the maximum first.
          audible_share: channels with less than this share of the energy of the loudest channel of
            a patch are left out; 0.01 is 20 dB.
          window_seconds: longer recordings are separated in windows of this length.

        Raises:
          SepconError: there is no such separator, or it hears another rate; an argument is out of
            its range; or this one has a separator already.
        """
        if isinstance(separator, Separator):
            step = separator.recordings.step if step is None else step
            separator = separator.name
        channels = Channels(separator, step, pooling, audible_share, window_seconds)
        encoder, config = self.network()
        made = with_channels(
            encoder, config, channels.without_labels(), hop_seconds=self.hop_seconds
        )
        facts = {
            "embedding_size": made.embedding_size,
            "fingerprint": made.fingerprint,
            "channels": made.facts,
        }

        def network() -> tuple[keras.Model, EncoderConfig]:
            raise SepconError(
                f"{self.name} with {separator} is two networks: take the encoder alone"
            )

        name = f"{self.name} with {separator}"
        return Encoder(name, made.module, self.card | facts, network)

    def __repr__(self) -> str:
        return (
            f"Encoder({self.name!r}): a waveform to {self.embedding_size} numbers, of patches of "
            f"{self.patch_seconds:g} s every {self.hop_seconds:g} s, at {self.sample_rate_hz} Hz"
        )


def open_encoder(name: str, found: FoundModel, step: int | None) -> Encoder:
    """Opens an encoder that was found.

    Args:
      name: what the user called it, for messages.
      found: where it is.
      step: the state; None for the last one.

    Raises:
      SepconError: it is damaged, or lacks the step.
    """
    if found.card is not None:
        return _from_saved_model(name, found.folder, dict(found.card), step)
    folder = found.folder
    loaded = load_encoder(folder, step)
    module = EmbeddingModel(loaded.encoder, loaded.log_mel, patch_seconds=loaded.patch_seconds)
    card = {
        "kind": "encoder",
        "sample_rate_hz": loaded.log_mel.sample_rate_hz,
        "patch_seconds": loaded.patch_seconds,
        "hop_seconds": module.exact_hop_seconds,
        "embedding_size": int(module.embedding_size()),
        "training_step": loaded.step,
        "fingerprint": encoder_fingerprint(loaded.config, loaded.encoder, module),
    }

    def network() -> tuple[keras.Model, EncoderConfig]:
        again = load_encoder(folder, loaded.step)
        return again.encoder, again.config

    return Encoder(name, module, describe(folder) | card, network)


def _from_saved_model(name: str, folder: Path, card: dict[str, Any], step: int | None) -> Encoder:
    if step not in (None, card["training_step"]):
        raise SepconError(
            f"{folder}: holds step {card['training_step']} alone, not {step}; give the run folder"
        )

    def network() -> tuple[keras.Model, EncoderConfig]:
        return encoder_of_saved_model(folder)

    return Encoder(name, load_serving_function(folder), card, network)
