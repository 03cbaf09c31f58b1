"""The separator as a product: waveform in, sources out, in a graph without sepcon or Keras."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import tensorflow as tf

from sepcon.models.separator.network import Separator


class SeparationModel(tf.Module):
    """Splits mixtures into sources that sum to them.

    Metadata are functions without arguments, as attributes do not survive a SavedModel:
    `sample_rate_hz()`, `num_sources()`.

    Args:
      separator: the trained network.
    """

    def __init__(self, separator: Separator) -> None:
        super().__init__(name="separation_model")
        self._config = separator.config
        # As in `EmbeddingModel`: only the bare variables are tracked, the Keras model stays hidden.
        self._tf_variables = [variable.value for variable in separator.variables]
        self._separate = lambda mixture: separator(mixture, training=False)
        # Traced now, so that every later call finds these two and none makes a graph of its own.
        self._batch_function = self.__call__.get_concrete_function(
            tf.TensorSpec([None, None], tf.float32, name="waveform")
        )
        self.__call__.get_concrete_function(tf.TensorSpec([None], tf.float32, name="waveform"))

    @property
    def signatures(self) -> dict[str, Any]:
        """What `tf.saved_model.save` takes as `signatures`."""
        return {"serving_default": self._batch_function}

    @tf.function(autograph=False)
    def __call__(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Separates recordings.

        Args:
          waveform: [batch, samples] or [samples] float32 in [-1, 1] at `sample_rate_hz()`; any
            number of samples but 0. Memory grows with it: separate long recordings in windows.

        Returns:
          'sources' [batch, source, samples] float32, or [source, samples]; they sum to the
          waveform within rounding.

        Raises:
          ValueError: not float32, or neither one nor two axes.
        """
        if waveform.dtype != tf.float32 or waveform.shape.rank not in (1, 2):
            raise ValueError(
                "waveform must be float32 in [-1, 1], [batch, samples] or [samples], got "
                f"{waveform.dtype.name} of shape {waveform.shape}; divide int16 by 32768."
            )
        if waveform.shape.rank == 1:
            return {"sources": self._separate(waveform[tf.newaxis])[0]}
        return {"sources": self._separate(waveform)}

    @tf.function(autograph=False, input_signature=[])
    def sample_rate_hz(self) -> tf.Tensor:
        """The rate the waveform must have."""
        return tf.constant(self._config.sample_rate_hz, tf.int32)

    @tf.function(autograph=False, input_signature=[])
    def num_sources(self) -> tf.Tensor:
        """How many sources come out."""
        return tf.constant(self._config.num_sources, tf.int32)


def separator_fingerprint(separator: Separator) -> str:
    """Hashes all that decides the numbers: architecture and weights."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(separator.config)).encode())
    for variable in separator.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
