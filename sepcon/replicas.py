"""The devices as the code that runs on them sees them.

What kind they are; the global batch, of which each replica of a `tf.distribute` strategy holds some
rows; and small pieces of a graph that XLA compiles by themselves.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

_assumed: bool | None = None


def has_accelerator() -> bool:
    """Whether TensorFlow sees a GPU or a TPU; asking does not begin to use one."""
    if _assumed is not None:
        return _assumed
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return True
    return any(device.device_type != "CPU" for device in tf.config.get_visible_devices())


def first_gpu() -> str | None:
    """Returns the name of the GPU that a training on one device uses; None without one."""
    if not tf.config.get_visible_devices("GPU"):
        return None
    return tf.config.list_logical_devices("GPU")[0].name


@contextlib.contextmanager
def assumed(*, accelerator: bool) -> Iterator[None]:
    """Inside this block, `has_accelerator` says so: graphs are traced as for such a machine.

    Args:
      accelerator: what it says.
    """
    global _assumed
    before, _assumed = _assumed, accelerator
    try:
        yield
    finally:
        _assumed = before


def num_replicas() -> int:
    """Returns how many replicas share the global batch.

    Outside a replica context, where a tensor already holds every row, this is 1.
    """
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def gather_global(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gathers the rows of all replicas, in the order of the replicas.

    The gradient is exact: what the replicas' losses, summed, owe to a row arrives at the replica
    that holds the row. Every replica must hold the same number of rows.

    Args:
        x: [rows, ...], any float or integer type. With more than one replica, half-precision
            types come back as float32, because collectives do not take bfloat16.

    Returns:
        The rows of the global batch, [rows * replicas, ...], and the place of this replica's first
        row among them, [] int32. With one replica, or outside a replica context: `x` itself and 0.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x, tf.constant(0, tf.int32)
    if x.dtype in (tf.bfloat16, tf.float16):
        x = tf.cast(x, tf.float32)
    replicas, replica = context.num_replicas_in_sync, context.replica_id_in_sync_group
    first = tf.cast(replica, tf.int32) * tf.shape(x)[0]
    if not x.shape.is_fully_defined():
        return context.all_gather(x, axis=0), first
    # One collective in place of the two of all_gather, and the shape stays known.
    own = tf.reshape(tf.range(replicas) == replica, [replicas, *[1] * x.shape.rank])
    mine = tf.where(own, x[tf.newaxis], tf.zeros([], x.dtype))  # zeros in the others' places
    everyone = context.all_reduce(tf.distribute.ReduceOp.SUM, mine)
    return tf.reshape(everyone, [replicas * x.shape[0], *x.shape[1:]]), first


def xla_island(function: Callable) -> Callable:
    """Lets XLA compile a function of tensors and Python values, for each static shape anew.

    A `tf.function` would hand a graph of known shapes the trace that another caller made for
    unknown ones, as any trace that accepts the arguments is taken: a training step traced after
    an export would then hold shapes that an accelerator does not compile.

    Args:
      function: of tensors, and of hashable Python values that its graph depends on.

    Returns:
      The function, to be called with positional arguments.
    """

    @functools.lru_cache(maxsize=128)
    def compiled(shapes: tuple) -> Callable:
        del shapes  # the key
        return tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def island(*arguments: Any) -> Any:
        return compiled(tuple(_static_shape(argument) for argument in arguments))(*arguments)

    return island


def _static_shape(argument: Any) -> tuple[int | None, ...] | None:
    if not isinstance(argument, tf.Tensor) or argument.shape.rank is None:
        return None
    return tuple(argument.shape.as_list())
