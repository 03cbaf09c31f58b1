"""The graph of a product for waveforms of one length, of operations that other runtimes have too.

Neither loops, strings and checks nor FFT and complex numbers are in it: what TensorFlow Lite and
ONNX convert to built-in operations.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from sepcon.models.products.waveform import Outputs, valid_rows

SIGNATURE = "patch"
# Of a separator, which hears any length.
_DEFAULT_SECONDS = 4.0


class FixedLengthModel(tf.Module):
    """One of the products, for waveforms of one length.

    Args:
      product: EmbeddingModel, ClassificationModel or SeparationModel.
      num_samples: how long waveforms are.
      batch: how many they are; None for any number.
    """

    def __init__(self, product: Any, num_samples: int, *, batch: int | None = None) -> None:
        super().__init__(name="fixed_length_model")
        function, variables = product.of_length(num_samples)
        self._variables = variables
        self.num_samples, self.batch = num_samples, batch
        self.spec = tf.TensorSpec([batch, num_samples], tf.float32, name="waveform")

        def checked(waveform: tf.Tensor) -> Outputs:
            valid = valid_rows(waveform)  # [batch, 1]
            outputs = function(waveform)
            return {name: _where_valid(valid, outputs[name]) for name in sorted(outputs)}

        self.function = tf.function(checked, autograph=False, input_signature=[self.spec])


def default_num_samples(product: Any) -> int:
    """Returns the samples of a patch; of a separator, which has none, those of some seconds."""
    seconds = getattr(product, "exact_patch_seconds", _DEFAULT_SECONDS)
    return round(seconds * int(product.sample_rate_hz()))


def _where_valid(valid: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """NaN for a waveform that the SavedModel refuses: these runtimes cannot refuse."""
    shape = [-1] + [1] * (output.shape.rank - 1)
    return tf.where(tf.reshape(valid, shape), output, float("nan"))
