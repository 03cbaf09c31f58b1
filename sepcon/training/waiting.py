"""How long the devices' batches are waited for, measured where they are handed out."""

from __future__ import annotations

import threading
import time

import numpy as np
import tensorflow as tf


class Waiting:
    """Adds up the seconds in which a batch was asked for and not there yet.

    The clock is in the input pipeline, so that no operation of a training step calls Python or
    waits for the host. Where batches are copied ahead to an accelerator, it is the copying that
    asks, earlier than the step does: the sum is then the most that the device can have waited.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0

    def take(self) -> float:
        """The seconds since the last call."""
        with self._lock:
            seconds, self._seconds = self._seconds, 0.0
        return seconds

    def timed(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The same elements; the time until each is there is counted."""
        # A zip asks its parts one after the other: first the clock, then for the batch.
        asked = tf.data.Dataset.counter().map(lambda _: _call(time.perf_counter, []))
        both = tf.data.Dataset.zip((asked, dataset))

        def counted(asked: tf.Tensor, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            # What is here depends on nothing, yet runs, and after the batch has come.
            with tf.control_dependencies(tf.nest.flatten(batch)):
                noted = _call(self._note, [asked])
            with tf.control_dependencies([noted]):
                return tf.nest.map_structure(tf.identity, batch)

        return both.map(counted)

    def _note(self, asked: np.ndarray) -> float:
        with self._lock:
            self._seconds += time.perf_counter() - float(asked)
        return 0.0


def _call(function: object, arguments: list[tf.Tensor]) -> tf.Tensor:
    return tf.ensure_shape(tf.numpy_function(function, arguments, tf.float64, stateful=True), [])
