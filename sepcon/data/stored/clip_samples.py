"""The clips of a data set whose samples lie in records: ids, labels and lengths without reading."""

from __future__ import annotations

import dataclasses

import numpy as np

from sepcon.data.stored.samples import StoredSamples
from sepcon.data.stored.sparse_labels import SparseLabels


@dataclasses.dataclass(frozen=True)
class ClipSamples:
    """Where the samples of clips are, and what else is known of them.

    Attributes:
      store: the records, of one row each.
      records: int64 [clips], the record of each clip.
      columns: int64 [class numbers], the column of the labels that a class number stands for, -1
        for one that is left out.
      clip_samples: samples of every clip, cut off or followed by zeros; None for those of records.
      sparse_labels: labels of all records in the place of their class numbers.
    """

    store: StoredSamples
    records: np.ndarray
    columns: np.ndarray
    clip_samples: int | None = None
    sparse_labels: SparseLabels | None = None

    def part(self, positions: np.ndarray) -> ClipSamples:
        """Returns some of the clips.

        Args:
          positions: integer [n], numbers of the clips, in the order that is wanted.
        """
        return dataclasses.replace(self, records=self.records[positions])

    def lengths(self, positions: np.ndarray) -> np.ndarray:
        """Samples of clips, int64 [n]."""
        if self.clip_samples is not None:
            return np.full(len(positions), self.clip_samples, np.int64)
        return self.store.lengths[self.records[positions]]

    def ids(self, positions: np.ndarray) -> np.ndarray:
        """Ids of clips, [n] bytes."""
        return self.store.ids[self.records[positions]]

    def labels(self, positions: np.ndarray) -> np.ndarray:
        """Labels of clips, float32 [n, classes], 0 or 1, or between them."""
        if self.sparse_labels is not None:
            return self.sparse_labels.rows(self.records[positions])
        num_classes = int(self.columns.max(initial=-1)) + 1
        labels = np.zeros((len(positions), num_classes), np.float32)
        for row, record in zip(labels, self.records[positions].tolist(), strict=True):
            columns = self.columns[self.store.class_numbers(record)]
            row[columns[columns >= 0]] = 1.0
        return labels
