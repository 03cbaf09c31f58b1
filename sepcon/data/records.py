"""Reading TFRecord files at any place: an index of offsets and one positioned read per record.

A shuffled epoch, a resumed run and one of several stored channels all ask for records out of
order. With the offsets known each costs one `pread`, needs no shuffle buffer in memory, and
starting at step one million is as quick as starting at step zero.

What is read is checked, see `example_bytes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.data.example_bytes import find_records, read_record
from sepcon.data.stored.descriptors import Descriptors


class RecordFiles:
    """The records of several TFRecord files, numbered from 0 on in the order of the files.

    Args:
      paths: uncompressed TFRecord files.
      cure: what helps where one is missing or damaged, for messages.

    Raises:
      SepconError: if a file is missing, ends in the middle of a record, or a record in it does not
        say its length rightly.
    """

    def __init__(self, paths: Sequence[str | Path], *, cure: str = "write it again") -> None:
        self.paths = tuple(str(path) for path in paths)
        self._cure = cure
        spans = [find_records(path, cure=cure) for path in self.paths]
        self.counts = tuple(len(span) for span in spans)
        numbers = np.repeat(np.arange(len(spans)), self.counts)
        self._file = numbers.astype(np.int64)
        self._span = np.concatenate([np.zeros((0, 2), np.int64), *spans])
        self._begin_reading()

    def __len__(self) -> int:
        return len(self._file)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: the index, which it then need not scan the files for."""
        names = ("paths", "counts", "_cure", "_file", "_span")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin_reading()

    def _begin_reading(self) -> None:
        self._descriptors = Descriptors()

    def bytes_at(self, position: int) -> bytes:
        """Reads a record and checks it.

        Args:
          position: its number, from 0.

        Returns:
          Its data.

        Raises:
          SepconError: the data are not what was written, or the file has become shorter since it
            was opened.
        """
        number = self._file[position]
        path = self.paths[number]
        offset, length = (int(value) for value in self._span[position])
        return read_record(
            self._descriptors[path],
            offset,
            length,
            path=path,
            number=position - sum(self.counts[:number]),
            cure=self._cure,
        )

    def read(self, position: tf.Tensor) -> tf.Tensor:
        """Reads a record inside tf.data.

        Args:
          position: int64 [], its number, from 0.

        Returns:
          string [], its data.
        """
        data = tf.numpy_function(self._fetch, [position], tf.string, stateful=False)
        data.set_shape(())
        return data

    def _fetch(self, position: np.ndarray) -> bytes:
        # Bytes as they are: TensorFlow never frees what comes in an object array without axes.
        return self.bytes_at(int(position))
