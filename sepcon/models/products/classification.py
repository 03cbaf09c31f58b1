"""The classifier as a product: waveform in, class probabilities out, without sepcon or Keras."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd
from sepcon.models.classifier import Classifier
from sepcon.models.products.patch_embedder import PatchEmbedder, PatchModel
from sepcon.models.products.waveform import Outputs, WaveformGraph, trace_calls, valid_rows


class ClassificationModel(PatchModel):
    """Cuts a waveform into patches as `EmbeddingModel` does, and names the class of the whole.

    The logits of a recording are the mean of those of its patches. Metadata are functions without
    arguments: `sample_rate_hz()`, `class_names()`, `patch_seconds()`, `hop_seconds()`, and of a
    SavedModel `class_map_path()`.

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
        log_mel: FrontEnd,
        *,
        patch_seconds: float,
        class_names: Sequence[str],
        hop_seconds: float | None = None,
    ) -> None:
        encoder = classifier.encoder
        super().__init__(
            PatchEmbedder(encoder, log_mel, patch_seconds=patch_seconds, hop_seconds=hop_seconds),
            name="classification_model",
        )
        # Set by what writes a SavedModel: the table of classes.
        self.class_map_file: Any = None
        self._class_names = tuple(class_names)
        # As in `EmbeddingModel`: only the bare variables are tracked, the Keras model stays hidden.
        self._tf_variables = [variable.value for variable in encoder.variables]
        self._head_variables = [variable.value for variable in classifier.head.variables]
        self._logits = lambda embedding: classifier.logits(embedding)
        self._graph = WaveformGraph(self._classify, shared=("patch_time_seconds",))
        self._batch_function = trace_calls(self.__call__)

    @property
    def signatures(self) -> dict[str, Any]:
        """What `tf.saved_model.save` takes as `signatures`: any length, and single patches."""
        patch = tf.TensorSpec([None, self._embed.patch_samples], tf.float32, name="waveform")
        return {
            "serving_default": self._batch_function,
            "patch": self.classify_patch.get_concrete_function(patch),
        }

    @tf.function(autograph=False)
    def __call__(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies recordings.

        Args:
          waveform: as `EmbeddingModel` takes it.

        Returns:
          'logits' [batch, classes], 'probabilities' [batch, classes], which sum to 1, and
          'embedding' [batch, dim], the encoder's mean over the patches; 'patch_probabilities'
          [batch, patches, classes], each patch by itself, and 'patch_embedding'; 'log_mel' and
          'patch_time_seconds' as `EmbeddingModel` has them; all float32. For a waveform without the
          batch axis these have none either.

        Raises:
          As `EmbeddingModel`.
        """
        return self._graph(waveform)

    def of_length(self, num_samples: int) -> tuple[Callable[[tf.Tensor], Outputs], list[Any]]:
        """Returns what classifies waveforms of one length; see `EmbeddingModel.of_length`.

        Returns:
          A function of waveform [batch, num_samples] float32 that gives what `__call__` does but
          for the log-mel and the times; and the variables that it reads.
        """
        embed = self._embed.of_length(num_samples)
        variables = [*self._tf_variables, *self._head_variables]
        return lambda waveform: self._scored(embed(waveform)), variables

    @tf.function(autograph=False)
    def classify_patch(self, waveform: tf.Tensor) -> Outputs:
        """Classifies single patches without any loop.

        Args:
          waveform: [batch, patch samples] float32 in [-1, 1].

        Returns:
          'logits' and 'probabilities' [batch, classes] and 'embedding' [batch, dim], float32; NaN
          for a patch that `__call__` would refuse for its samples.
        """
        embedding = tf.where(valid_rows(waveform), self._embed.of_patch(waveform), float("nan"))
        logits = self._logits(embedding)
        return {
            "embedding": embedding,
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
        }

    def _classify(self, waveform: tf.Tensor) -> Outputs:
        return self._scored(self._embed(waveform))

    def _scored(self, outputs: Outputs) -> Outputs:
        patch_logits = self._logits(outputs["patch_embedding"])  # [batch, patches, classes]
        logits = tf.reduce_mean(patch_logits, axis=-2)
        # More than three: code written for YAMNet, `scores, embeddings, log_mel = model(waveform)`,
        # would take the names of three for its values.
        return {
            **outputs,
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "patch_probabilities": tf.nn.softmax(patch_logits),
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.float32)])
    def yamnet_outputs(self, waveform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns scores, embeddings and log-mel of one recording, as code for YAMNet expects them.

        Args:
          waveform: [samples] float32 in [-1, 1].

        Returns:
          Probabilities [patches, classes], embeddings [patches, dim], log-mel [frames, mels].
        """
        outputs = self(waveform)
        return outputs["patch_probabilities"], outputs["patch_embedding"], outputs["log_mel"]

    @tf.function(autograph=False, input_signature=[])
    def class_map_path(self) -> tf.Tensor:
        """Where the SavedModel has its table of `index,mid,display_name`, string []."""
        return tf.identity(self.class_map_file.asset_path)

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
