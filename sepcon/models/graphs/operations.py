"""Walks traced graphs: the operations of a graph and the functions that they call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf


def called_graphs(graph: Any, operation: tf.Operation) -> Iterator[tuple[str, Any]]:
    """Yields name and graph of each function that an operation calls, as often as it names it.

    Args:
      graph: the traced graph that holds the operation.
      operation: any.
    """
    for name in _called(operation):
        function = graph._get_function(name)
        if function is not None and hasattr(function, "graph"):
            yield name, function.graph


def _called(operation: tf.Operation) -> list[str]:
    """Names of the functions an operation calls."""
    values = [operation.get_attr(name) for name in operation.node_def.attr]
    flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return [value.name for value in flat if hasattr(value, "name") and hasattr(value, "attr")]
