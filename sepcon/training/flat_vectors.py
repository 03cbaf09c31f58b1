"""Many tensors as a few long vectors, so that one operation serves all of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import tensorflow as tf

# Vectors of all weights would leave the caches between one operation and the next: on a CPU the
# update of 24 million weights takes half as long again.
_LEAST_VECTOR = 1 << 18
_MOST_VECTORS = 8  # of one kind, roughly: enough to keep each in the caches, few to launch


class FlatVectors:
    """Lays tensors of the shapes of some variables end to end.

    Args:
      variables: their order is kept.
      kinds: one for each variable; different kinds share no vector.

    Attributes:
      groups: the places of the variables in each vector, whose kind is `kinds` of the first.
    """

    def __init__(self, variables: Sequence[Any], kinds: Sequence[Hashable]) -> None:
        self._shapes = [tuple(variable.shape) for variable in variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.groups = [
            group
            for kind in dict.fromkeys(kinds)
            for group in self._cut([place for place, k in enumerate(kinds) if k == kind])
        ]

    def pack(self, tensors: Sequence[Any]) -> list[tf.Tensor]:
        """Joins tensors or variables, one for each of the variables' shapes, to [numbers] each."""
        return [
            tf.concat([tf.reshape(tensors[place], [-1]) for place in group], axis=0)
            for group in self.groups
        ]

    def unpack(self, vectors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Undoes `pack`.

        Args:
          vectors: [length] each.

        Returns:
          The tensors, [...] each, in their shapes and order.
        """
        tensors: dict[int, tf.Tensor] = {}
        for group, vector in zip(self.groups, vectors, strict=True):
            parts = tf.split(vector, [self._sizes[place] for place in group])
            for place, part in zip(group, parts, strict=True):
                tensors[place] = tf.reshape(part, self._shapes[place])
        return [tensors[place] for place in range(len(self._shapes))]

    def _cut(self, places: list[int]) -> Iterator[list[int]]:
        """Cuts places of one kind into groups of about the same number of numbers."""
        total = sum(self._sizes[place] for place in places)
        enough = max(_LEAST_VECTOR, total // _MOST_VECTORS)
        group: list[int] = []
        for place in places:
            group.append(place)
            if sum(self._sizes[other] for other in group) >= enough:
                yield group
                group = []
        if group:
            yield group
