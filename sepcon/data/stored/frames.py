"""What is known of every frame of stored samples: energies, and checksums of what comes before.

A frame is `HOP_SAMPLES` samples, 25 ms at 16 kHz; views begin at frames. Of the rows of a record
(a clip has one, its channels have one each) a frame has, as uint32:

    energies     [rows]  sum of squares of its int16 samples, a float32
    checksums    [rows]  CRC-32C of the row's samples before the frame
    guard        1       a checksum of these words

Behind the last frame, which may be short, stands one more with the checksums of whole rows. An
energy is below 2^39 and is rounded to 24 bits, so it is an integer in float64 and sums of them are
exact: which channel is audible is the same on every machine.
"""

from __future__ import annotations

import numpy as np

from sepcon.data.stored.checksums import running_checksums

HOP_SAMPLES = 400
WORD_BYTES = 4
SAMPLE_BYTES = 2
HOP_BYTES = SAMPLE_BYTES * HOP_SAMPLES


def num_frames(samples: int | np.ndarray) -> int | np.ndarray:
    """Returns the number of frames of a clip; the last one may be short.

    Args:
      samples: of the clip, or integer [...] of many.
    """
    return -(-samples // HOP_SAMPLES)


def frame_words(rows: int) -> int:
    """Words of a frame of so many rows."""
    return 2 * rows + 1


def measure_frames(samples: np.ndarray) -> np.ndarray:
    """Measures the frames of a record.

    Args:
      samples: int16 [rows, samples].

    Returns:
      uint32 [frames + 1, frame_words(rows)].
    """
    rows, length = samples.shape
    frames = int(num_frames(length))
    padded = np.zeros((rows, frames * HOP_SAMPLES), np.float64)
    padded[:, :length] = samples
    framed = padded.reshape(rows, frames, HOP_SAMPLES)
    words = np.zeros((frames + 1, frame_words(rows)), np.uint32)
    # Squares and their sums are integers below 2^53: the order of summing does not matter.
    energies = np.einsum("rfs,rfs->fr", framed, framed).astype(np.float32)
    words[:-1, :rows] = energies.view(np.uint32)
    for row, data in enumerate(samples):
        running = running_checksums(data.astype("<i2", copy=False).tobytes(), HOP_BYTES)
        words[:, rows + row] = np.fromiter(running, np.uint32, frames + 1)
    words[:, -1] = _guards(words, np.arange(frames + 1))
    return words


def energies_of(words: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Returns the energies of frames that were read.

    Args:
      words: uint32 [n, frames, words], frames in a row.
      first: [n] number of the first frame in its record.

    Returns:
      float64 [n, frames, rows].

    Raises:
      ValueError: the words are not those that were written; its argument is the first such n.
    """
    numbers = first[:, np.newaxis] + np.arange(words.shape[1])
    bad = (words[..., -1] != _guards(words, numbers)).any(axis=1)
    if bad.any():
        raise ValueError(int(np.argmax(bad)))
    rows = words.shape[-1] // 2
    return np.ascontiguousarray(words[..., :rows]).view(np.float32).astype(np.float64)


def _guards(words: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """A checksum of all words of each frame but the last, and of its number.

    Odd factors: a change of any one word always changes the sum, others almost never leave it.
    """
    factors = (2 * np.arange(words.shape[-1], dtype=np.uint32) + 1) * np.uint32(0x9E3779B1)
    sums = (words[..., :-1] * factors[:-1]).sum(axis=-1, dtype=np.uint32)
    return sums + (numbers.astype(np.uint32) + np.uint32(1)) * np.uint32(0x85EBCA77)
