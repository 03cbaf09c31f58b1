"""Reading TFRecord files at any place: an index of offsets and one positioned read per record.

A shuffled epoch, a resumed run and one of several stored channels all ask for records out of
order. With the offsets known each costs one `pread`, needs no shuffle buffer in memory, and
starting at step one million is as quick as starting at step zero.
"""

from __future__ import annotations

import os
import struct
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.errors import SepconError

# A record: uint64 length, uint32 CRC of it, the data, uint32 CRC of the data.
_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4


class RecordFiles:
    """The records of several TFRecord files, numbered from 0 on in the order of the files.

    Args:
      paths: uncompressed TFRecord files.

    Raises:
      SepconError: if a file is missing or ends in the middle of a record.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.paths = tuple(str(path) for path in paths)
        spans = [_scan(path) for path in self.paths]
        self.counts = tuple(len(span) for span in spans)
        numbers = np.repeat(np.arange(len(spans)), self.counts)
        self._file = numbers.astype(np.int64)
        self._span = np.concatenate([np.zeros((0, 2), np.int64), *spans])
        self._begin_reading()

    def __len__(self) -> int:
        return len(self._file)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: the index, which it then need not scan the files for."""
        return {name: getattr(self, name) for name in ("paths", "counts", "_file", "_span")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin_reading()

    def _begin_reading(self) -> None:
        self._descriptors: dict[str, int] = {}
        weakref.finalize(self, _close, self._descriptors)
        self._lock = threading.Lock()

    def bytes_at(self, position: int) -> bytes:
        """Reads a record.

        Args:
          position: its number, from 0.

        Returns:
          Its data.

        Raises:
          SepconError: the file has become shorter since it was opened.
        """
        path = self.paths[self._file[position]]
        offset, length = (int(value) for value in self._span[position])
        data = os.pread(self._descriptor(path), length, offset)
        if len(data) != length:
            raise SepconError(f"{path}: shrank while it was read; write it again")
        return data

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

    def _descriptor(self, path: str) -> int:
        with self._lock:
            if path not in self._descriptors:
                self._descriptors[path] = os.open(path, os.O_RDONLY)
            return self._descriptors[path]


def _close(descriptors: dict[str, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


def _scan(path: str) -> np.ndarray:
    """Returns [records, 2] int64: where the data of each record begins, and its length."""
    spans: list[tuple[int, int]] = []
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            offset = 0
            while offset < size:
                header = os.pread(file.fileno(), _HEADER.size, offset)
                length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else size
                end = offset + _HEADER.size + length + _FOOTER_BYTES
                if end > size:
                    raise SepconError(
                        f"{path}: ends in the middle of record {len(spans)}; it was cut off, "
                        "delete it and prepare it again"
                    )
                spans.append((offset + _HEADER.size, length))
                offset = end
    except OSError as error:
        raise SepconError(f"{path}: cannot be read ({error.strerror}); prepare it again") from error
    return np.asarray(spans, np.int64).reshape(-1, 2)
