"""What every product hears: one graph of a batch with its checks, and the calls that lead to it.

The checks are part of the graph, so that they hold where sepcon is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import tensorflow as tf

from sepcon.audio.samples import FULL_SCALE

# Recordings in floating point may go beyond full scale, but not by 40 dB: such samples are integers
# that were not divided by full scale, or the file is broken.
LOUDEST = 100.0
# soundfile and scipy read [samples, channels]. Nobody has recordings of a few milliseconds by the
# hundred, nor more channels than this.
MOST_CHANNELS = 64

# The order matters: a list of Python numbers goes to the first that takes it.
_DTYPES = (tf.float32, tf.float64, tf.int16)
_ACCEPTED = (
    "float32 or float64 in [-1, 1], or int16, which is divided by 32768; "
    "[batch, samples] or [samples]"
)

# What a model card says of the input of all products.
CARD_LINES: dict[str, Any] = {
    "waveform": _ACCEPTED,
    "waveform_refused": [
        "recordings of no samples",
        f"more than {MOST_CHANNELS} recordings of at most {MOST_CHANNELS} samples: "
        "[samples, channels]; average the channels",
        f"samples that are NaN, infinite, or beyond {LOUDEST:g}",
    ],
    "empty_batch": "gives outputs of no recordings",
}

Outputs = dict[str, tf.Tensor]


class WaveformGraph:
    """The graph of a batch, made once: making it takes longer than anything else of an export.

    Every call contains it once: what TensorFlow does before a first call grows with it. The checks
    are a graph of their own before it. Inside it their side effect would keep TensorFlow from
    optimising it as before, and change the last bits.

    Args:
      function: [batch, samples] float32, at least one of each, -> outputs that begin with the batch
        axis.
      shared: names of outputs that have no batch axis.
    """

    def __init__(
        self, function: Callable[[tf.Tensor], Outputs], *, shared: Collection[str] = ()
    ) -> None:
        batch = tf.TensorSpec([None, None], tf.float32, name="waveform")
        self._check = check_waveform.get_concrete_function(batch)
        self._batch = tf.function(
            function, autograph=False, input_signature=[batch]
        ).get_concrete_function()
        self._shared = frozenset(shared)
        # All dtypes share the graphs of float32.
        self._of_rank = {
            rank: tf.function(
                checked, autograph=False, input_signature=[tf.TensorSpec([None] * rank, tf.float32)]
            ).get_concrete_function()
            for rank, checked in ((1, self._single), (2, self._several))
        }

    def __call__(self, waveform: tf.Tensor) -> Outputs:
        """Takes waveform [batch, samples] or [samples], of which the outputs have no batch axis.

        Raises:
          ValueError: neither float32, float64 nor int16, or neither one nor two axes.
          tf.errors.InvalidArgumentError: see `check_waveform`.
        """
        waveform = tf.convert_to_tensor(waveform)
        if waveform.dtype not in _DTYPES or waveform.shape.rank not in (1, 2):
            raise ValueError(
                f"waveform must be {_ACCEPTED}; got {waveform.dtype.name} of shape "
                f"{waveform.shape}."
            )
        return self._of_rank[waveform.shape.rank](_as_float32(waveform))

    def _single(self, waveform: tf.Tensor) -> Outputs:
        outputs = self._batch(self._check(waveform[tf.newaxis]))
        return self._each(outputs, lambda value: value[0])

    def _several(self, waveform: tf.Tensor) -> Outputs:
        checked = self._check(waveform)
        rows = tf.shape(checked)[0]
        # Convolutions take no empty batch: a row of silence is heard in its place, and left out.
        heard = tf.cond(rows > 0, lambda: checked, lambda: tf.zeros([1, tf.shape(checked)[1]]))
        return self._each(self._batch(heard), lambda value: value[:rows])

    def _each(self, outputs: Outputs, change: Callable[[tf.Tensor], tf.Tensor]) -> Outputs:
        return {
            name: value if name in self._shared else change(value)
            for name, value in outputs.items()
        }


def trace_calls(call: Any) -> Any:
    """Makes the graphs of a `tf.function` of one waveform, for each dtype and rank accepted.

    Made before the first call, so that none makes a graph of its own, and a SavedModel has them
    all.

    Returns:
      The concrete function of [batch, samples] float32.
    """
    graphs = [
        call.get_concrete_function(tf.TensorSpec(shape, dtype, name="waveform"))
        for dtype in _DTYPES
        for shape in ([None, None], [None])
    ]
    return graphs[0]


@tf.function(autograph=False)
def check_waveform(waveform: tf.Tensor) -> tf.Tensor:
    """Returns waveform [batch, samples] float32 as it is, once all checks have passed.

    Raises:
      tf.errors.InvalidArgumentError: there are no samples, more than 64 recordings of at most 64
        samples, or samples that are not finite or beyond 100.
    """
    shape = tf.shape(waveform)
    batch, samples = shape[0], shape[1]
    shown = ["waveform of shape [", _text(batch), ", ", _text(samples), "]"]
    checks = [
        _assert(samples > 0, *shown, " holds no samples; leave empty recordings out"),
        _assert(
            (batch <= MOST_CHANNELS) | (samples > MOST_CHANNELS),
            *shown,
            " would be ",
            _text(batch),
            " recordings of length ",
            _text(samples),
            ". Was [samples, channels] given? Average the channels, waveform.mean(axis=1), or "
            "transpose it to take each as a recording",
        ),
        _assert_level(waveform),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(waveform)


def valid_rows(waveform: tf.Tensor) -> tf.Tensor:
    """Whether all samples of a row are finite and at most 100: [batch, samples] -> bool [batch, 1].

    Of operations that TensorFlow Lite has too.
    """
    # NaN compares as false.
    return tf.reduce_all(tf.abs(waveform) <= LOUDEST, axis=1, keepdims=True)


def _assert_level(waveform: tf.Tensor) -> tf.Operation:
    """Looks at the sum too, which no NaN leaves finite: a maximum may pass over one."""
    total = tf.reduce_sum(waveform, axis=1)
    peak = tf.maximum(tf.reduce_max(waveform, axis=1), -tf.reduce_min(waveform, axis=1))
    valid = tf.math.is_finite(total) & (peak <= LOUDEST)
    # One more row, as there is no first of an empty batch.
    first = tf.argmin(tf.pad(tf.cast(valid, tf.int32), [[0, 1]], constant_values=1))
    shown = tf.pad(tf.where(tf.math.is_finite(total), peak, total), [[0, 1]])
    return _assert(
        tf.reduce_all(valid),
        "waveform: recording ",
        _text(first),
        f" of the batch has samples that are NaN, infinite or beyond {LOUDEST:g} (peak: ",
        _text(shown[first]),
        "); expected finite ones in [-1, 1]: divide integers by full scale, those of 16 bits by "
        "32768",
    )


def _assert(condition: tf.Tensor, *message: tf.Tensor | str) -> tf.Operation:
    return tf.Assert(condition, [tf.strings.join(message)], name="check_waveform")


def _as_float32(waveform: tf.Tensor) -> tf.Tensor:
    if waveform.dtype == tf.int16:
        return tf.cast(waveform, tf.float32) / FULL_SCALE
    return tf.cast(waveform, tf.float32)


def _text(value: tf.Tensor) -> tf.Tensor:
    return tf.strings.as_string(value, shortest=value.dtype.is_floating)
