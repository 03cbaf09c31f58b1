"""The separator as a product: waveform in, sources out, in a graph without sepcon or Keras."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sepcon.models.products.waveform import Outputs, WaveformGraph, trace_calls
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
        self._graph = WaveformGraph(
            lambda waveform: {"sources": separator(waveform, training=False)}
        )
        self._batch_function = trace_calls(self.__call__)
        self._twin = separator.with_matrix_products

    @property
    def signatures(self) -> dict[str, Any]:
        """What `tf.saved_model.save` takes as `signatures`."""
        return {"serving_default": self._batch_function}

    @tf.function(autograph=False)
    def __call__(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Separates recordings.

        Args:
          waveform: [batch, samples] or [samples] at `sample_rate_hz()`, float32 or float64 in
            [-1, 1], or int16, which is divided by 32768; any number of samples but 0. A batch may
            be empty. Memory grows with it: separate long recordings in windows.

        Returns:
          'sources' [batch, source, samples] float32, or [source, samples]; they sum to the
          waveform within rounding.

        Raises:
          As `EmbeddingModel`.
        """
        return self._graph(waveform)

    def of_length(self, num_samples: int) -> tuple[Callable[[tf.Tensor], Outputs], list[Any]]:
        """Returns what separates waveforms of one length, without FFT and complex numbers.

        Args:
          num_samples: of each waveform.

        Returns:
          A function of waveform [batch, num_samples] float32 that gives 'sources'
          [batch, source, num_samples], and the variables that it reads.
        """
        del num_samples  # it takes any
        twin = self._twin()
        variables = [variable.value for variable in twin.variables]
        return lambda waveform: {"sources": twin(waveform, training=False)}, variables

    @tf.function(autograph=False, input_signature=[])
    def sample_rate_hz(self) -> tf.Tensor:
        """The sample rate that waveforms must have, int32 []."""
        return tf.constant(self._config.sample_rate_hz, tf.int32)

    @tf.function(autograph=False, input_signature=[])
    def num_sources(self) -> tf.Tensor:
        """The number of sources that it returns, int32 []."""
        return tf.constant(self._config.num_sources, tf.int32)


def separator_fingerprint(separator: Separator) -> str:
    """Hashes all that decides the numbers: architecture and weights."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(separator.config)).encode())
    for variable in separator.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
