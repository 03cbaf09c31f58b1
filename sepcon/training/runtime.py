"""The process: threads, seeds, determinism.

`configure_threads` must come before anything else uses TensorFlow.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.replicas import has_accelerator


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


def make_reproducible(seed: int, *, deterministic: bool | None = None) -> bool:
    """Sets all seeds and, where that is asked for, lets no operation depend on chance.

    Seeds decide initial weights, and batches are a pure function of seed and step: a resumed run
    sees the same data everywhere. Operations on several threads of an accelerator may still add up
    in another order. Without that freedom, a run is the same to the bit on the same machine, and a
    GPU uses slower forms of some operations. On a CPU it costs nothing (a convolutional step takes
    the same time within 3 %).

    Args:
      seed: of Python, numpy and Keras, and with them of all initial weights.
      deterministic: whether operations are; None is yes on a CPU and no on accelerators.

    Returns:
      Whether they are.
    """
    keras.utils.set_random_seed(seed)
    if deterministic is None:
        deterministic = not has_accelerator()
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return deterministic
