"""Small pieces of a graph that XLA compiles by themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


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
