"""The product: waveform in, embeddings out, in one graph that needs neither sepcon nor Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd
from sepcon.models.products.patch_embedder import PatchEmbedder, PatchModel
from sepcon.models.products.waveform import Outputs, WaveformGraph, trace_calls, valid_rows


class EmbeddingModel(PatchModel):
    """Cuts a waveform into overlapping patches, embeds each, and averages.

    Patches lie on the grid of the log-mel frames: patch k starts at min(k * hop, last), where
    `last` is where a patch ends with the recording, so that the end is heard too. A recording
    shorter than one patch is padded with zeros to one; a longer one by less than one frame hop
    (10 ms), to a whole number of frame hops past the first patch.

    Metadata are functions without arguments, as attributes do not survive a SavedModel:
    `sample_rate_hz()`, `patch_seconds()`, `hop_seconds()`, `embedding_size()`.

    Args:
      encoder: log-mel [batch, frames, mels] float32 -> embedding [batch, dim].
      log_mel: the front-end the encoder was trained with.
      patch_seconds: length of what the encoder sees.
      hop_seconds: time between the starts of patches, rounded to frames; half a patch by default.

    Raises:
      ValueError: the patch is shorter than a window, the hop is not positive, or the encoder wants
        another number of frames or mels than the patch has.
    """

    def __init__(
        self,
        encoder: keras.Model,
        log_mel: FrontEnd,
        *,
        patch_seconds: float,
        hop_seconds: float | None = None,
    ) -> None:
        super().__init__(
            PatchEmbedder(encoder, log_mel, patch_seconds=patch_seconds, hop_seconds=hop_seconds),
            name="embedding_model",
        )
        # The Keras model itself stays hidden behind a closure and only its bare variables are
        # tracked: with Keras objects inside, the TFLite converter aborts the process and the
        # loaded model has no trainable variables (tensorflow#63987).
        self._tf_variables = [variable.value for variable in encoder.variables]
        self._graph = WaveformGraph(self._embed, shared=("patch_time_seconds",))
        self._batch_function = trace_calls(self.__call__)

    @property
    def signatures(self) -> dict[str, Any]:
        """What `tf.saved_model.save` takes as `signatures`: any length, and single patches."""
        patch = tf.TensorSpec([None, self._embed.patch_samples], tf.float32, name="waveform")
        return {
            "serving_default": self._batch_function,
            "patch": self.embed_patch.get_concrete_function(patch),
        }

    @tf.function(autograph=False)
    def __call__(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds recordings.

        Args:
          waveform: [batch, samples] or [samples] at `sample_rate_hz()`, float32 or float64 in
            [-1, 1], or int16, which is divided by 32768; any number of samples but 0. A batch may
            be empty.

        Returns:
          'embedding' [batch, dim]: mean over the patches;
          'patch_embedding' [batch, patches, dim];
          'patch_time_seconds' [patches]: where each patch starts;
          'log_mel' [batch, frames, mels], the natural logarithm of power; of a front-end that is
          computed of single patches, theirs one after the other. All float32. For a waveform
          without the batch axis these have no batch axis either.

        Raises:
          ValueError: another dtype, or neither one nor two axes.
          tf.errors.InvalidArgumentError: no samples; more than 64 recordings of at most 64 samples,
            which are taken for [samples, channels]; samples not finite or beyond 100.
        """
        return self._graph(waveform)

    @tf.function(autograph=False)
    def embed_patch(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds single patches without any loop: the part that TensorFlow Lite takes as it is.

        Args:
          waveform: [batch, patch samples] float32 in [-1, 1].

        Returns:
          'embedding' [batch, dim] float32; NaN for a patch that `__call__` would refuse for its
          samples, as TensorFlow Lite cannot refuse.
        """
        embedding = self._embed.of_patch(waveform)
        return {"embedding": tf.where(valid_rows(waveform), embedding, float("nan"))}

    @tf.function(autograph=False, input_signature=[])
    def embedding_size(self) -> tf.Tensor:
        """The size of an embedding, int32 []."""
        return tf.constant(self._embed.embedding_size, tf.int32)

    def of_length(self, num_samples: int) -> tuple[Callable[[tf.Tensor], Outputs], list[Any]]:
        """Returns what embeds waveforms of one length, without loops, FFT and complex numbers.

        Args:
          num_samples: of each waveform.

        Returns:
          A function of waveform [batch, num_samples] float32 that gives 'embedding' [batch, dim]
          and 'patch_embedding' [batch, patches, dim], of the patches that `__call__` cuts; and the
          variables that it reads.
        """
        return self._embed.of_length(num_samples), self._tf_variables
