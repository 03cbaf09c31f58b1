"""Checksums of any stretch of frames, from one stored number for each frame.

What is stored is the CRC-32C of everything up to a frame. CRCs are linear: that of A followed by B
is that of B, and that of A carried on over as many zeros as B is long (of which that of zeros
alone is taken off). So the numbers before and after a stretch give the checksum of the stretch, of
whatever length it is, and its bytes are summed by one call.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import google_crc32c
import numpy as np

EMPTY = 0


def checksum(data: bytes) -> int:
    """Returns the CRC-32C of some bytes."""
    return google_crc32c.value(data)


def running_checksums(data: bytes, frame_bytes: int) -> Iterator[int]:
    """Yields the CRC-32C of all bytes up to each frame, and of all of them.

    Args:
      data: the bytes.
      frame_bytes: of a frame; the last may have fewer.
    """
    running = EMPTY
    yield running
    for start in range(0, len(data), frame_bytes):
        running = google_crc32c.extend(running, data[start : start + frame_bytes])
        yield running


def checksums_between(before: np.ndarray, after: np.ndarray, num_bytes: int) -> np.ndarray:
    """Returns the checksums of the bytes of stretches.

    Args:
      before: uint32 [n], of all bytes before each stretch.
      after: uint32 [n], of all bytes up to its end.
      num_bytes: the length of each stretch.

    Returns:
      uint32 [n].
    """
    table = _carried_over_zeros(num_bytes)
    carried = np.zeros_like(before)
    for number in range(4):
        carried ^= table[number][(before >> np.uint32(8 * number)) & np.uint32(0xFF)]
    return after ^ carried


@functools.lru_cache(maxsize=4096)
def _carried_over_zeros(num_bytes: int) -> np.ndarray:
    """What each value of each byte of a checksum becomes after so many zeros, uint32 [4, 256]."""
    zeros = bytes(num_bytes)
    of_zeros = google_crc32c.value(zeros)
    of_bits = [google_crc32c.extend(1 << bit, zeros) ^ of_zeros for bit in range(32)]
    table = np.zeros((4, 256), np.uint32)
    values = np.arange(256)
    for bit, carried in enumerate(of_bits):
        number, place = divmod(bit, 8)
        table[number] ^= np.where(values >> place & 1, np.uint32(carried), np.uint32(0))
    return table
