"""Labels of many clips of which each has few, between 0 and 1."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class SparseLabels:
    """Labels by record, those of one record after those of another.

    Attributes:
      starts: int64 [records + 1], where those of each record begin.
      columns: int64 [labels], the class of each.
      values: float32 [labels], how sure it is, above 0 and at most 1.
      num_classes: columns that there are.
    """

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    num_classes: int

    def rows(self, records: np.ndarray) -> np.ndarray:
        """Returns the labels of some records, float32 [n, classes], 0 where there is none."""
        labels = np.zeros((len(records), self.num_classes), np.float32)
        for row, record in zip(labels, records.tolist(), strict=True):
            these = slice(self.starts[record], self.starts[record + 1])
            row[self.columns[these]] = self.values[these]
        return labels

    def in_graph(self) -> GraphLabels:
        """Returns the same for reading inside tf.data."""
        return GraphLabels(self)


class GraphLabels:
    """Reads the labels of a record inside tf.data; to be made outside of a graph."""

    def __init__(self, labels: SparseLabels) -> None:
        self._starts = tf.constant(labels.starts)
        self._columns = tf.constant(labels.columns[:, np.newaxis])
        self._values = tf.constant(labels.values)
        self._shape = tf.constant([labels.num_classes], tf.int64)

    def __call__(self, record: tf.Tensor) -> tf.Tensor:
        """Returns float32 [classes] of record int64 []."""
        start, stop = self._starts[record], self._starts[record + 1]
        return tf.scatter_nd(self._columns[start:stop], self._values[start:stop], self._shape)
