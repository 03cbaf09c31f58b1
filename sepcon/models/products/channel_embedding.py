"""The product of two networks: a separator in front of an encoder, waveform in, embeddings out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd
from sepcon.errors import SepconError
from sepcon.models.encoder_files import EncoderConfig
from sepcon.models.fingerprint import digest, encoder_fingerprint
from sepcon.models.products.channel_pooling import (
    ATTENTION,
    Pooling,
    audible,
    check_pooling,
    pooled,
    pooled_size,
)
from sepcon.models.products.networks import open_separator
from sepcon.models.products.patch_embedder import PatchEmbedder, PatchModel
from sepcon.models.products.separation import separator_fingerprint
from sepcon.models.products.waveform import Outputs, WaveformGraph, trace_calls
from sepcon.models.separator.network import Separator


@dataclasses.dataclass(frozen=True)
class Channels:
    """A separator in front of an encoder, and how the embeddings of its channels are pooled.

    Attributes:
      separator: a run folder of `sepcon train_separator`, what `sepcon export` made of one, or a
        name of packaged weights.
      step: a state of the run folder; the last one by default.
      pooling: over the audible channels of a patch: "maximum", "mean" or "both", beside the
        mixture's own embedding; or "attention", which is learned with labels, by `sepcon benchmark`
        alone.
      audible_share: channels with less than this share of the energy of the loudest channel of a
        patch are left out; 0.01 is 20 dB.
      window_seconds: recordings up to this length are separated as a whole, longer ones in windows
        of about this length.

    Raises:
      SepconError: one of these is out of its range.
    """

    separator: str | Path
    step: int | None = None
    pooling: Pooling = "both"
    audible_share: float = 0.01
    window_seconds: float = 10.0

    def __post_init__(self) -> None:
        check_pooling(self.pooling, self.audible_share)
        if not self.window_seconds >= 0.1:
            raise SepconError(
                f"window_seconds: got {self.window_seconds:g}, expected some seconds, such as 10"
            )

    def without_labels(self) -> Channels:
        """Returns these, for what has no labels to learn from.

        Raises:
          SepconError: the pooling is one that is learned.
        """
        if self.pooling == ATTENTION:
            raise SepconError(
                "pooling: attention is learned with labels, by `sepcon benchmark` alone; here give "
                "maximum, mean or both"
            )
        return self

    def check_one_window(self, seconds: float, name: str) -> None:
        """Refuses means over patches of channels whose order differs from window to window.

        Args:
          seconds: length of a recording.
          name: of it, for the message.

        Raises:
          SepconError: it is separated in several windows.
        """
        if seconds > self.window_seconds:
            raise SepconError(
                f"pooling: attention over the channels of a whole clip wants clips that are "
                f"separated in one window of {self.window_seconds:g} s, but {name} has "
                f"{seconds:g} s; set clip_score to 'mean_patch_score', Channels.window_seconds to "
                "the longest, or another pooling"
            )


class _PatchesWithChannels:
    """Embeds patches and the channels of each, in the graph of `ChannelEmbeddingModel`."""

    def __init__(self, embed: PatchEmbedder, separator: Separator, channels: Channels) -> None:
        self._embed, self._separator, self._channels = embed, separator, channels
        self._num_channels = separator.config.num_sources
        past_first = round(channels.window_seconds * embed.sample_rate_hz) - embed.patch_samples
        frames = max(0, -(-past_first // embed.frame_hop))
        # As many as a recording of that length has.
        self._patches_per_window = 1 - (-frames * embed.frame_hop // embed.hop_samples)
        self.embedding_size = pooled_size(
            embed.embedding_size, self._num_channels, channels.pooling
        )

    def __call__(self, waveform: tf.Tensor) -> Outputs:
        """Embeds a batch, [batch, samples] float32 with at least one of each, in a graph."""
        outputs = self._embed(waveform)
        mixture = outputs["patch_embedding"]  # [batch, patches, dim]
        channels, energy = self._of_windows(waveform, tf.shape(mixture)[1])
        heard = audible(energy, self._channels.audible_share)  # [batch, patches, channel]
        embedding = pooled(mixture, channels, heard, pooling=self._channels.pooling)
        embedding = tf.ensure_shape(embedding, [None, None, self.embedding_size])
        return {
            **outputs,
            "embedding": tf.reduce_mean(embedding, axis=1),
            "patch_embedding": embedding,
        }

    def _of_windows(
        self, waveform: tf.Tensor, num_patches: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Separates window after window, each of whole patches, which are embedded there.

        A patch belongs to one window, so that the order of the channels in different windows does
        not matter, and memory holds the channels of one.

        Returns:
          Embeddings [batch, patches, channel, dim] and energies [batch, patches, channel].
        """
        embed, samples = self._embed, tf.shape(waveform)[1]
        num_windows = -(-num_patches // self._patches_per_window)
        per_window = -(-num_patches // num_windows)
        hop, dim = embed.hop_samples, embed.embedding_size
        length = (per_window - 1) * hop + embed.patch_samples

        def of_window(
            window: tf.Tensor, embeddings: tf.TensorArray, energies: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
            start = window * per_window * hop
            # The last one ends with the recording, which may be short of whole patches.
            end = tf.where(window + 1 < num_windows, start + length, samples)
            embedding, energy = self._of_window(waveform[:, start:end])
            return window + 1, embeddings.write(window, embedding), energies.write(window, energy)

        shapes = ([None, None, self._num_channels, dim], [None, None, self._num_channels])
        arrays = [
            tf.TensorArray(tf.float32, num_windows, infer_shape=False, element_shape=shape)
            for shape in shapes
        ]
        _, *arrays = tf.while_loop(
            lambda window, *_: window < num_windows,
            of_window,
            (0, *arrays),
            parallel_iterations=1,
        )
        embedding, energy = (array.concat() for array in arrays)  # patches first
        return tf.transpose(embedding, [1, 0, 2, 3]), tf.transpose(energy, [1, 0, 2])

    def _of_window(self, waveform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Embeddings [patches, batch, channel, dim] and energies [patches, batch, channel]."""
        batch, samples = tf.unstack(tf.shape(waveform))
        separated = self._separator(waveform, training=False)  # [batch, channel, samples]
        rows = tf.reshape(separated, [batch * self._num_channels, samples])
        of_rows = self._embed(rows)["patch_embedding"]  # [batch * channel, patches, dim]
        patches = tf.shape(of_rows)[1]
        embedding = tf.reshape(
            of_rows, [batch, self._num_channels, patches, self._embed.embedding_size]
        )
        energy = tf.reshape(patch_energies(self._embed, rows), [batch, self._num_channels, patches])
        return tf.transpose(embedding, [2, 0, 1, 3]), tf.transpose(energy, [2, 0, 1])


def patch_energies(embed: PatchEmbedder, waveform: tf.Tensor) -> tf.Tensor:
    """Sums the squares of the samples of each patch, up to a whole number of frame hops.

    Args:
      embed: what cuts the patches.
      waveform: [batch, samples] float32, at least one sample.

    Returns:
      [batch, patches] float32.
    """
    starts, _ = embed.starts(tf.shape(waveform)[1])
    hops = -(-embed.patch_samples // embed.frame_hop)
    num_hops = starts[-1] + hops
    missing = num_hops * embed.frame_hop - tf.shape(waveform)[1]
    padded = tf.pad(waveform, [[0, 0], [0, missing]])
    energy = tf.reduce_sum(tf.square(tf.reshape(padded, [-1, num_hops, embed.frame_hop])), axis=2)
    of_patches = tf.gather(energy, starts[:, tf.newaxis] + tf.range(hops), axis=1)
    return tf.reduce_sum(of_patches, axis=2)


class ChannelEmbeddingModel(PatchModel):
    """Embeds recordings, and beside each patch the channels that a separator makes of it.

    The embedding of a patch is that of the mixture, as `EmbeddingModel` gives it, and behind it
    those of the audible channels, pooled (see `pooled`). That of a recording is the mean over its
    patches. Recordings longer than `window_seconds` are separated in windows of whole patches. A
    patch without any audible channel, as of silence, has the mixture in their place.

    Metadata are those of `EmbeddingModel`.

    Args:
      encoder: as `EmbeddingModel` takes it, like what follows.
      log_mel: the front-end.
      patch_seconds: length of what the encoder sees.
      hop_seconds: time between the starts of patches, half a patch by default.
      separator: the network that stands in front.
      channels: how its channels are used.

    Raises:
      SepconError: the two networks hear different sample rates.
      ValueError: as `EmbeddingModel`.
    """

    def __init__(
        self,
        encoder: keras.Model,
        log_mel: FrontEnd,
        *,
        patch_seconds: float,
        hop_seconds: float | None = None,
        separator: Separator,
        channels: Channels,
    ) -> None:
        if separator.config.sample_rate_hz != log_mel.sample_rate_hz:
            raise SepconError(
                f"the separator {channels.separator} hears {separator.config.sample_rate_hz} Hz, "
                f"the encoder {log_mel.sample_rate_hz} Hz, and one model has one rate; give two of "
                "the same"
            )
        embed = PatchEmbedder(
            encoder, log_mel, patch_seconds=patch_seconds, hop_seconds=hop_seconds
        )
        super().__init__(embed, name="channel_embedding_model")
        self._with_channels = _PatchesWithChannels(embed, separator, channels)
        # As in `EmbeddingModel`: only the bare variables are tracked.
        variables = [*encoder.variables, *separator.variables]
        self._tf_variables = [variable.value for variable in variables]
        self._graph = WaveformGraph(self._with_channels, shared=("patch_time_seconds",))
        self._batch_function = trace_calls(self.__call__)

    @property
    def signatures(self) -> dict[str, Any]:
        """What `tf.saved_model.save` takes as `signatures`."""
        return {"serving_default": self._batch_function}

    @tf.function(autograph=False)
    def __call__(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds recordings.

        Args:
          waveform: as `EmbeddingModel.__call__` takes it.

        Returns:
          As `EmbeddingModel.__call__`, with embeddings of `embedding_size()` numbers, of which the
          first are those of the encoder alone. 'log_mel' is that of the mixture.

        Raises:
          As `EmbeddingModel.__call__`.
        """
        return self._graph(waveform)

    @tf.function(autograph=False, input_signature=[])
    def embedding_size(self) -> tf.Tensor:
        """The size of an embedding, int32 []."""
        return tf.constant(self._with_channels.embedding_size, tf.int32)


@dataclasses.dataclass(frozen=True)
class ChannelEmbedder:
    """A separator and an encoder as one model, and what is known of it.

    Attributes:
      module: the graph.
      fingerprint: changes when the numbers may change.
      facts: of the channels, for a model card, JSON-able.
      num_parameters: of the separator.
      embedding_size: numbers in an embedding.
      encoder_size: of them, those of the mixture.
      num_channels: of the separator.
    """

    module: ChannelEmbeddingModel
    fingerprint: str
    facts: dict[str, Any]
    num_parameters: int
    embedding_size: int
    encoder_size: int
    num_channels: int


def with_channels(
    encoder: keras.Model,
    config: EncoderConfig,
    channels: Channels,
    *,
    hop_seconds: float | None = None,
) -> ChannelEmbedder:
    """Puts a separator in front of an encoder.

    Args:
      encoder: the network with its weights.
      config: its description.
      channels: which separator, and how its channels are used.
      hop_seconds: time between the starts of patches, half a patch by default.

    Raises:
      SepconError: there is no such separator, or it hears another sample rate.
      ValueError: as `EmbeddingModel`.
    """
    opened = open_separator(channels.separator, channels.step)
    separator = opened.network
    module = ChannelEmbeddingModel(
        encoder,
        config.log_mel,
        patch_seconds=config.patch_seconds,
        hop_seconds=hop_seconds,
        separator=separator,
        channels=channels,
    )
    of_encoder = encoder_fingerprint(config, encoder, module)
    of_separator = separator_fingerprint(separator)
    used = (channels.pooling, float(channels.audible_share), float(channels.window_seconds))
    return ChannelEmbedder(
        module,
        digest("channels", of_encoder, of_separator, repr(used)),
        {
            "pooling": channels.pooling,
            "audible_share": channels.audible_share,
            "window_seconds": channels.window_seconds,
            "num_channels": separator.config.num_sources,
            "separator_step": opened.step,
            "separator_fingerprint": of_separator,
            "encoder_fingerprint": of_encoder,
        },
        separator.count_params(),
        int(module.embedding_size()),
        int(encoder.output_shape[-1]),
        separator.config.num_sources,
    )
