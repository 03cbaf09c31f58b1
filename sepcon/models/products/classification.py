"""The classifier as a product: waveform in, class probabilities out, without sepcon or Keras."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.models.classifier import Classifier
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.waveform import Outputs, WaveformGraph, trace_calls


class ClassificationModel(tf.Module):
    """Cuts a waveform into patches as `EmbeddingModel` does, and names the class of the whole.

    The logits of a recording are the mean of those of its patches. Metadata are functions without
    arguments: `sample_rate_hz()`, `class_names()`.

    Args:
      classifier: the trained network; later changes of its weights are seen.
      log_mel: the front-end it was trained with.
      patch_seconds: length of what it sees.
      class_names: of its outputs.
      hop_seconds: time between the starts of patches, half a patch by default.

    Raises:
      ValueError: as `EmbeddingModel`.
    """

    def __init__(
        self,
        classifier: Classifier,
        log_mel: LogMel,
        *,
        patch_seconds: float,
        class_names: Sequence[str],
        hop_seconds: float | None = None,
    ) -> None:
        super().__init__(name="classification_model")
        self._embed = EmbeddingModel(
            classifier.encoder, log_mel, patch_seconds=patch_seconds, hop_seconds=hop_seconds
        )
        self._class_names = tuple(class_names)
        # As in `EmbeddingModel`: only the bare variables are tracked, the Keras model stays hidden.
        self._head_variables = [variable.value for variable in classifier.head.variables]
        self._logits = lambda embedding: classifier.logits(embedding)
        self._graph = WaveformGraph(self._classify)
        self._batch_function = trace_calls(self.__call__)

    @property
    def signatures(self) -> dict[str, Any]:
        """What `tf.saved_model.save` takes as `signatures`."""
        return {"serving_default": self._batch_function}

    @property
    def exact_hop_seconds(self) -> float:
        """The time between the starts of patches after rounding to frames."""
        return self._embed.exact_hop_seconds

    @tf.function(autograph=False)
    def __call__(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies recordings.

        Args:
          waveform: as `EmbeddingModel` takes it.

        Returns:
          'logits' [batch, classes], 'probabilities' [batch, classes], which sum to 1, and
          'embedding' [batch, dim], the encoder's mean over the patches; float32. For a waveform
          without the batch axis these have none either.

        Raises:
          As `EmbeddingModel`.
        """
        return self._graph(waveform)

    def _classify(self, waveform: tf.Tensor) -> Outputs:
        outputs = self._embed(waveform)
        logits = tf.reduce_mean(self._logits(outputs["patch_embedding"]), axis=-2)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "embedding": outputs["embedding"],
        }

    @tf.function(autograph=False, input_signature=[])
    def sample_rate_hz(self) -> tf.Tensor:
        """The sample rate that waveforms must have, int32 []."""
        return self._embed.sample_rate_hz()

    @tf.function(autograph=False, input_signature=[])
    def class_names(self) -> tf.Tensor:
        """Names of the classes, string [classes]."""
        return tf.constant(self._class_names)


def classifier_fingerprint(description: str, classifier: Classifier, hop_seconds: float) -> str:
    """Returns the SHA-256, in hex, of all that decides the scores.

    Args:
      description: architecture, front-end and patch, as text.
      classifier: whose weights count, in their order.
      hop_seconds: from one patch of a clip to the next.
    """
    digest = hashlib.sha256(f"{description} {hop_seconds!r}".encode())
    for variable in classifier.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
