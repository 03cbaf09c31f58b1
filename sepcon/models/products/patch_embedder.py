"""What products cut waveforms into, and how each piece is embedded, in the graph."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd, ResizedLogMelMaps
from sepcon.audio.maps.matrix_products import by_matrix_products
from sepcon.models.products.waveform import Outputs

# Bounds on the working memory of one call, whatever the length of the recording: an hour costs
# its own samples and log-mel, and beside them one chunk of spectra and one of activations.
_FRAMES_PER_CHUNK = 8192
_PATCHES_PER_CHUNK = 64

# Numbers of patches, int32 [count] -> what the encoder sees of them, [batch * count, frames, mels].
_CutPatches = Callable[[tf.Tensor], tf.Tensor]


class PatchEmbedder:
    """Cuts waveforms into overlapping patches and embeds each, in the graph of a product.

    Args:
      encoder: as `EmbeddingModel` takes it.
      log_mel: the same.
      patch_seconds: the same.
      hop_seconds: the same.

    Attributes:
      sample_rate_hz: of the waveforms.
      patch_seconds: length of what the encoder sees.
      patch_samples: the same in samples.
      frame_hop: samples from one frame to the next.
      hop_samples: samples from the start of one patch to that of the next, rounded to frames.
      exact_hop_seconds: the same in seconds.
      embedding_size: numbers in an embedding.

    Raises:
      ValueError: as `EmbeddingModel`.
    """

    def __init__(
        self,
        encoder: keras.Model,
        log_mel: FrontEnd,
        *,
        patch_seconds: float,
        hop_seconds: float | None = None,
    ) -> None:
        if hop_seconds is not None and hop_seconds <= 0:
            raise ValueError(f"hop_seconds must be positive, got {hop_seconds}.")
        rate = log_mel.sample_rate_hz
        self._window = log_mel.window_samples
        self.frame_hop = log_mel.hop_samples
        self.patch_samples = round(patch_seconds * rate)
        if self.patch_samples < self._window:
            raise ValueError(
                f"patch_seconds must hold one window of {self._window / rate} s, "
                f"got {patch_seconds}."
            )
        self._patch_frames = log_mel.num_frames(self.patch_samples)
        _check_input_shape(encoder, self._patch_frames, log_mel.num_mels)
        hop = patch_seconds / 2 if hop_seconds is None else hop_seconds
        self._hop_frames = max(1, round(hop * rate / self.frame_hop))
        self.embedding_size = int(encoder.output_shape[-1])
        self.sample_rate_hz, self.patch_seconds = rate, float(patch_seconds)
        self.hop_samples = self._hop_frames * self.frame_hop
        self.exact_hop_seconds = self.hop_samples / rate
        self._encoder, self._log_mel = encoder, log_mel

    @functools.cached_property
    def _encode(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """One graph for whole recordings and for single patches."""
        patches = tf.TensorSpec([None, self._patch_frames, self._log_mel.num_mels], tf.float32)
        with tf.init_scope():
            return tf.function(
                lambda patches: tf.cast(self._encoder(patches, training=False), tf.float32),
                autograph=False,
                input_signature=[patches],
            ).get_concrete_function()

    def of_patch(self, waveform: tf.Tensor) -> tf.Tensor:
        """Embeds single patches, [batch, patch samples] -> [batch, dim], both float32."""
        return self._encode(self._log_mel(waveform))

    def __call__(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds a batch, [batch, samples] float32 with at least one of each, in a graph.

        Returns:
          As `EmbeddingModel.__call__`.
        """
        batch, samples = tf.unstack(tf.shape(waveform))
        starts, num_frames = self.starts(samples)
        num_patches = tf.shape(starts)[0]
        per_chunk = tf.maximum(1, _PATCHES_PER_CHUNK // tf.maximum(batch, 1))
        if self._log_mel.of_patches:
            cut_patches = self._waveform_patches(waveform, samples, starts)
            log_mel = self._joined_patches(cut_patches, batch, num_patches, per_chunk)
        else:
            log_mel = self._whole_log_mel(waveform, batch, samples, num_frames)
            cut_patches = self._log_mel_patches(log_mel, starts)

        def embed_patches(first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
            chunk = tf.minimum(tf.range(first, first + count), num_patches - 1)
            patches = cut_patches(chunk)  # [batch * count, frames, mels]
            embedding = tf.reshape(self._encode(patches), [batch, count, self.embedding_size])
            return tf.transpose(embedding, [1, 0, 2])

        patch_embedding = _in_chunks(
            embed_patches, num_patches, per_chunk, [None, self.embedding_size]
        )
        patch_embedding = tf.transpose(patch_embedding, [1, 0, 2])  # [batch, patches, dim]
        return {
            "embedding": tf.reduce_mean(patch_embedding, axis=1),
            "patch_embedding": patch_embedding,
            "patch_time_seconds": tf.cast(starts * self.frame_hop, tf.float32)
            / self.sample_rate_hz,
            "log_mel": log_mel,
        }

    def starts(self, samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns at which frames the patches of so many samples start: see `patch_starts`."""
        return patch_starts(
            samples,
            patch_samples=self.patch_samples,
            frame_hop=self.frame_hop,
            hop_frames=self._hop_frames,
            patch_frames=self._patch_frames,
        )

    def of_length(self, num_samples: int) -> Callable[[tf.Tensor], Outputs]:
        """Returns what embeds waveforms of one length: see `EmbeddingModel.of_length`."""
        log_mel = by_matrix_products(self._log_mel)
        frames, _ = self.starts(tf.constant(num_samples))
        starts = [int(frame) * self.frame_hop for frame in frames]
        padding = max(0, starts[-1] + self.patch_samples - num_samples)

        def embed(waveform: tf.Tensor) -> Outputs:
            padded = tf.pad(waveform, [[0, 0], [0, padding]])
            patches = [padded[:, start : start + self.patch_samples] for start in starts]
            waveforms = tf.reshape(tf.stack(patches, axis=1), [-1, self.patch_samples])
            embeddings = self._encode(log_mel(waveforms))
            of_patches = tf.reshape(embeddings, [-1, len(starts), self.embedding_size])
            return {
                "embedding": tf.reduce_mean(of_patches, axis=1),
                "patch_embedding": of_patches,
            }

        return embed

    def _log_mel_patches(self, log_mel: tf.Tensor, starts: tf.Tensor) -> _CutPatches:
        """Cuts patches out of the log-mel of whole recordings."""

        def cut(chunk: tf.Tensor) -> tf.Tensor:
            first = tf.gather(starts, chunk)[:, tf.newaxis]
            patches = tf.gather(log_mel, first + tf.range(self._patch_frames), axis=1)
            patches = tf.reshape(patches, [-1, self._patch_frames, self._log_mel.num_mels])
            return self._log_mel.scale(patches)

        return cut

    def _waveform_patches(
        self, waveform: tf.Tensor, samples: tf.Tensor, starts: tf.Tensor
    ) -> _CutPatches:
        """The same of a front-end that is computed of each patch by itself."""
        wanted = starts[-1] * self.frame_hop + self.patch_samples
        padded = tf.pad(waveform, [[0, 0], [0, tf.maximum(wanted - samples, 0)]])

        def cut(chunk: tf.Tensor) -> tf.Tensor:
            first = (tf.gather(starts, chunk) * self.frame_hop)[:, tf.newaxis]
            patches = tf.gather(padded, first + tf.range(self.patch_samples), axis=1)
            return self._log_mel(tf.reshape(patches, [-1, self.patch_samples]))

        return cut

    def _joined_patches(
        self, cut: _CutPatches, batch: tf.Tensor, num_patches: tf.Tensor, per_chunk: tf.Tensor
    ) -> tf.Tensor:
        """Log-mel [batch, patches * frames, mels] of all patches, one after the other."""
        shape = [self._patch_frames, self._log_mel.num_mels]

        def of_chunk(first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
            patches = cut(tf.minimum(tf.range(first, first + count), num_patches - 1))
            return tf.transpose(tf.reshape(patches, [batch, count, *shape]), [1, 0, 2, 3])

        patches = _in_chunks(of_chunk, num_patches, per_chunk, [None, *shape])
        patches = tf.transpose(patches, [1, 0, 2, 3])  # [batch, patches, frames, mels]
        return tf.reshape(patches, [batch, num_patches * shape[0], shape[1]])

    def _whole_log_mel(
        self, waveform: tf.Tensor, batch: tf.Tensor, samples: tf.Tensor, num_frames: tf.Tensor
    ) -> tf.Tensor:
        """Log-mel [batch, num_frames, mels] of the zero-padded waveform, a chunk at a time."""
        front_end = self._log_mel
        assert not isinstance(front_end, ResizedLogMelMaps)  # see `_waveform_patches`
        window, hop, mels = self._window, self.frame_hop, self._log_mel.num_mels
        per_chunk = tf.maximum(1, _FRAMES_PER_CHUNK // tf.maximum(batch, 1))
        # The last chunk is as long as the others; what it has too much is cut off afterwards.
        padded = (num_frames + _num_chunks(num_frames, per_chunk)) * hop + window
        waveform = tf.pad(waveform, [[0, 0], [0, tf.maximum(padded - samples, 0)]])

        def analyse(first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
            start = first * hop
            frames = front_end.log_power(waveform[:, start : start + (count - 1) * hop + window])
            return tf.transpose(tf.ensure_shape(frames, [None, None, mels]), [1, 0, 2])

        log_mel = _in_chunks(analyse, num_frames, per_chunk, [None, mels])
        return tf.transpose(log_mel, [1, 0, 2])


class PatchModel(tf.Module):
    """A product that cuts waveforms into patches, and what it tells of that.

    Metadata are functions without arguments, as attributes do not survive a SavedModel.

    Args:
      embed: cuts and embeds.
      name: of the module.
    """

    def __init__(self, embed: PatchEmbedder, *, name: str) -> None:
        super().__init__(name=name)
        self._embed = embed

    @tf.function(autograph=False, input_signature=[])
    def sample_rate_hz(self) -> tf.Tensor:
        """The sample rate that waveforms must have, int32 []."""
        return tf.constant(self._embed.sample_rate_hz, tf.int32)

    @tf.function(autograph=False, input_signature=[])
    def patch_seconds(self) -> tf.Tensor:
        """The length of a patch, float32 []."""
        return tf.constant(self._embed.patch_seconds, tf.float32)

    @tf.function(autograph=False, input_signature=[])
    def hop_seconds(self) -> tf.Tensor:
        """The time between the starts of two patches, float32 []."""
        return tf.constant(self._embed.exact_hop_seconds, tf.float32)

    @property
    def exact_hop_seconds(self) -> float:
        """The time between the starts of patches after rounding to frames."""
        return self._embed.exact_hop_seconds

    @property
    def exact_patch_seconds(self) -> float:
        """The length of a patch, which `patch_seconds()` gives in float32."""
        return self._embed.patch_seconds


def patch_starts(
    samples: tf.Tensor, *, patch_samples: int, frame_hop: int, hop_frames: int, patch_frames: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns at which frame each patch of a recording starts, and how many frames it has.

    Args:
      samples: int32 [], of the recording.
      patch_samples: of a patch.
      frame_hop: samples from one frame to the next.
      hop_frames: frames from one patch to the next.
      patch_frames: of a patch.

    Returns:
      int32 [patches], and int32 [], with those that need padding.
    """
    past_first = _ceil_divide(tf.maximum(samples - patch_samples, 0), frame_hop)
    num_patches = 1 + _ceil_divide(past_first, hop_frames)
    starts = tf.minimum(tf.range(num_patches) * hop_frames, past_first)
    return starts, patch_frames + past_first


def _in_chunks(
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    num_items: tf.Tensor,
    per_chunk: tf.Tensor,
    item_shape: list[int | None],
) -> tf.Tensor:
    """Computes [num_items, ...] as `function(first, count)` on chunks of equal count.

    Chunks run one after the other, so that memory holds the intermediates of one. Their count is
    evened out (65 items at 64 a chunk are 33 and 33, not 64 and 1), hence less than one item per
    chunk is computed in vain.
    """
    num_chunks = _num_chunks(num_items, per_chunk)
    count = _ceil_divide(num_items, num_chunks)
    results = tf.TensorArray(
        tf.float32, size=num_chunks, infer_shape=False, element_shape=[None, *item_shape]
    )
    _, results = tf.while_loop(
        lambda chunk, _: chunk < num_chunks,
        lambda chunk, results: (chunk + 1, results.write(chunk, function(chunk * count, count))),
        (0, results),
        parallel_iterations=1,
    )
    return results.concat()[:num_items]


def _num_chunks(num_items: tf.Tensor, per_chunk: tf.Tensor) -> tf.Tensor:
    return tf.maximum(1, _ceil_divide(num_items, per_chunk))


def _ceil_divide(numerator: tf.Tensor, denominator: tf.Tensor | int) -> tf.Tensor:
    return -(-numerator // denominator)


def _check_input_shape(encoder: keras.Model, frames: int, mels: int) -> None:
    wanted = tuple(encoder.input_shape[1:])
    given = (frames, mels)
    if len(wanted) != 2 or any(w not in (None, g) for w, g in zip(wanted, given, strict=True)):
        raise ValueError(
            f"encoder must take log-mel patches [batch, {frames}, {mels}], "
            f"but its input shape is {encoder.input_shape}."
        )
