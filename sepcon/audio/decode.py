"""From an audio file to int16 samples, mono, at 16 kHz or another rate. Without TensorFlow.

libsndfile reads in blocks, soxr (HQ) resamples, so an hour at 192 kHz takes the memory of its
result.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soxr

from sepcon.audio.files import AudioError, open_audio
from sepcon.audio.samples import SAMPLE_RATE_HZ, to_int16
from sepcon.errors import SepconError

_memory = threading.local()


def decode_file(path: str | Path, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Decodes a file to mono.

    Args:
      path: the file.
      rate_hz: sample rate of the result.

    Returns:
      [samples] int16, at least one sample. Floats beyond full scale are clipped.

    Raises:
      AudioError: the file is missing, damaged or cut off, see `open_audio`.
    """
    return np.concatenate(list(decode_blocks(path, rate_hz)))


def decode_blocks(path: str | Path, rate_hz: int = SAMPLE_RATE_HZ) -> Iterator[np.ndarray]:
    """Decodes a file to mono block by block, for files that are too long for the memory.

    Args:
      path: the file.
      rate_hz: sample rate of the blocks.

    Yields:
      Blocks that follow one another, [samples] int16, which together are what `decode_file` gives.

    Raises:
      AudioError: the file is missing, damaged or cut off, see `open_audio`.
    """
    with open_audio(path) as (header, blocks):
        resample_block = _resampler(header.rate_hz, rate_hz)
        num_samples = 0
        for block in blocks:
            decoded = to_int16(resample_block(block, False))
            num_samples += len(decoded)
            yield decoded
        decoded = to_int16(resample_block(np.zeros(0, np.float32), True))
        yield decoded if num_samples + len(decoded) else to_int16(_one_sample(block))


def decode_bytes(data: bytes | memoryview, name: str) -> np.ndarray:
    """Decodes the content of an audio file, as `decode_file` does the file itself.

    Args:
      data: the whole content.
      name: the name of the file, for messages.

    Returns:
      [samples] int16, mono at 16 kHz.

    Raises:
      AudioError: the content is damaged or cut off, see `open_audio`.
    """
    descriptor = _memory_file()
    # In place, for memory that is new to the system costs more than the copy itself.
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))
    try:
        return decode_file(f"/proc/self/fd/{descriptor}")
    except AudioError as error:
        raise AudioError(error.kind, name, error.detail) from error


def _memory_file() -> int:
    """Descriptor of a file in memory, one for each thread of each process.

    libsndfile reads it at once, where a Python stream is called back again and again.
    """
    if getattr(_memory, "process", None) != os.getpid():
        _memory.process, _memory.descriptor = os.getpid(), os.memfd_create("sepcon")
    return _memory.descriptor


def resample(mono: np.ndarray, rate_hz: int) -> np.ndarray:
    """Resamples a waveform to 16 kHz with soxr at its quality HQ.

    Args:
      mono: [samples] float.
      rate_hz: its sample rate.

    Returns:
      [samples] of the same dtype at 16 kHz; at least one sample if `mono` has any.
    """
    resampled = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return resampled if len(resampled) or not len(mono) else _one_sample(mono)


def _one_sample(mono: np.ndarray) -> np.ndarray:
    """Stands for a recording too short to be one sample, so that it is not lost."""
    return mono.mean(keepdims=True, dtype=np.float32)


def _resampler(from_hz: int, to_hz: int) -> Callable[[np.ndarray, bool], np.ndarray]:
    if from_hz == to_hz:
        return lambda block, last: block
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    return stream.resample_chunk


@dataclasses.dataclass
class DecodeReport:
    """Counts what became of the files of an import.

    Attributes:
      rate_hz: what files are decoded to.
      decoded: files that became clips.
      failures: one-line errors of the files that could not be decoded; each names its file.
      silent: files of zeros only; they hold nothing to learn from or to measure, and are skipped.
    """

    rate_hz: int = SAMPLE_RATE_HZ
    decoded: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    silent: list[str] = dataclasses.field(default_factory=list)

    def decode(self, path: str | Path) -> np.ndarray | None:
        """Decodes a file and counts it.

        Returns:
          [samples] int16, mono at `rate_hz`; None for a file that cannot be decoded or is silent.
        """
        try:
            audio = decode_file(path, self.rate_hz)
        except SepconError as error:
            self.failures.append(str(error))
            return None
        if not audio.any():
            self.silent.append(str(path))
            return None
        self.decoded += 1
        return audio

    def check_share(self, max_skipped_share: float) -> None:
        """Stops an import that loses too many files.

        Args:
          max_skipped_share: the largest share, 0 to 1, of files that cannot be decoded.

        Raises:
          SepconError: more than this share of the files could not be decoded, or no file is left.
        """
        tried = self.decoded + len(self.failures) + len(self.silent)
        if len(self.failures) > max_skipped_share * tried:
            raise SepconError(
                f"{len(self.failures)} of {tried} files cannot be decoded, more than the share of "
                f"{max_skipped_share:g} allowed by max_skipped_share: "
                + "; ".join(self.failures[:3])
            )
        if tried and not self.decoded:
            raise SepconError(f"all of {tried} files are silent, as {self.silent[0]}; give others")

    def summary(self) -> str:
        """One line: how many were decoded and skipped, and the first few names."""
        line = f"{self.decoded} files decoded"
        if self.failures:
            line += f", {len(self.failures)} undecodable skipped ({'; '.join(self.failures[:3])})"
        if self.silent:
            line += f", {len(self.silent)} silent skipped ({'; '.join(self.silent[:3])})"
        return line
