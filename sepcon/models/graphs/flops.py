"""How many floating point operations a network needs, counted in its traced graph.

For the plans of tools/, which compare machines by these numbers. TensorFlow's own counter
(tf.compat.v1.profiler) does not look into the functions that a graph calls, leaves out operations
that it does not know without an error, and counts element-wise operations with the products.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sepcon.models.graphs.operations import called_graphs

_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2")
_LOOPS = ("While", "StatelessWhile")
# Operations that are refused, because they would be left out of the count without an error.
_UNKNOWN = ("Conv2DBackprop", "Conv3D", "DepthwiseConv2dNativeBackprop", "Einsum", "_Fused")


def function_flops(function: Callable[..., Any], *specs: Any) -> int:
    """Counts the operations of one call of a function, in matrix products and convolutions alone.

    A product and a sum count as two, as in `separator_flops`. Fourier transforms, normalisation and
    everything else that works element by element are left out. A training step has three times as
    many as the forward pass. A loop counts as often as it may run.

    Args:
      function: what TensorFlow can trace; forward passes only.
      specs: static shapes of its arguments, tf.TensorSpec or nests of them.

    Returns:
      The number of operations.

    Raises:
      ValueError: some operations cannot be counted: products of unknown shape, in a loop of
        unknown length, or of gradients.
    """
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    return 2 * _multiplications(traced.graph)


def _multiplications(graph: Any) -> int:
    total = 0
    for operation in graph.get_operations():
        inner = sum(_multiplications(called) for _, called in called_graphs(graph, operation))
        if inner and operation.type in _LOOPS:
            inner *= _iterations(operation)
        total += inner + _of_operation(operation)
    return total


def _iterations(loop: tf.Operation) -> int:
    """How often a loop runs that says so beforehand, as those of `tf.map_fn` do."""
    limit = tf.get_static_value(loop.inputs[1])  # -1 of a loop without a limit
    if limit is None or limit < 0:
        raise ValueError(f"{loop.name}: products in a loop of unknown length cannot be counted")
    return int(limit)


def _of_operation(operation: tf.Operation) -> int:
    kind = operation.type
    if kind.startswith(_UNKNOWN):
        raise ValueError(f"{operation.name}: {kind} cannot be counted; trace a forward pass")
    if kind not in (*_PRODUCTS, "Conv2D", "DepthwiseConv2dNative"):
        return 0
    first, second = (each.shape for each in operation.inputs[:2])
    result = operation.outputs[0].shape
    if not (first.is_fully_defined() and result.is_fully_defined()):
        raise ValueError(f"{operation.name}: {kind} has an unknown shape {result}")
    if kind == "Conv2D":  # [height, width, channels of a group, filters]
        return math.prod(result) * math.prod(second[:3])
    if kind == "DepthwiseConv2dNative":  # [height, width, channels, multiplier]
        return math.prod(result) * math.prod(second[:2])
    transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
    return math.prod(result) * first[-2 if transposed else -1]
