"""The process: threads, seeds, determinism.

`configure_threads` must come before anything else uses TensorFlow.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from sepcon.errors import SepconError


def configure_threads(num_threads: int | None = None) -> None:
    """Sets the number of threads of TensorFlow, within one operation and across operations.

    Args:
      num_threads: for each of the two; None leaves the choice to TensorFlow (all cores).

    Raises:
      SepconError: not a positive number.
      RuntimeError: TensorFlow is in use already.
    """
    if num_threads is None:
        return
    if num_threads < 1:
        raise SepconError(f"num_threads: got {num_threads}, expected at least 1")
    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(num_threads)


def make_deterministic(seed: int) -> None:
    """Makes the results of this process repeat to the bit, on the same machine.

    On a CPU it costs nothing (a convolutional step takes the same time within 3 %). On a GPU some
    operations have slower deterministic forms, and a few have none and raise an error.

    Args:
      seed: for the random numbers of Python, numpy and Keras, and so for all initial weights.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
