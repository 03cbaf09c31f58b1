"""From an audio file to int16 samples, mono, at 16 kHz or another rate: who chooses the decoder.

`decode_file` is what importers use: libsndfile reads in blocks, soxr (HQ) resamples, so an hour at
192 kHz takes the memory of its result. `decode_in_graph` does the same inside tf.data, with
tensorflow-io where that loads.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
import tensorflow as tf

from sepcon.data.audio_file import CODECS, open_audio
from sepcon.data.clips import SAMPLE_RATE_HZ, to_int16
from sepcon.errors import SepconError

Backend = Literal["auto", "tensorflow_io", "soundfile"]


def decode_file(path: str | Path, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Decodes a file to int16 [samples], mono at `rate_hz`; at least one sample.

    Floats beyond 1 are held at the rails.

    Raises:
      SepconError: as `open_audio`.
    """
    with open_audio(path) as (header, blocks):
        resample = _resampler(header.rate_hz, rate_hz)
        decoded = []
        for block in blocks:
            decoded.append(to_int16(resample(block, False)))
        decoded.append(to_int16(resample(np.zeros(0, np.float32), True)))
    audio = np.concatenate(decoded)
    return audio if len(audio) else to_int16(_one_sample(block))


def _one_sample(mono: np.ndarray) -> np.ndarray:
    """Stands for a recording too short to be one sample, so that it is not lost."""
    return mono.mean(keepdims=True, dtype=np.float32)


def _resampler(from_hz: int, to_hz: int):  # type: ignore[no-untyped-def]
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
        """Decodes a file and counts it; None if it has to be skipped."""
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
        """Stops an import that loses too much.

        Raises:
          SepconError: if more than this share of the files could not be decoded, or nothing is
            left at all.
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


@functools.cache
def tensorflow_io_works() -> bool:
    """Whether tensorflow-io decodes a tiny WAV here: where its ops do not load, importing works."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(8, np.int16), SAMPLE_RATE_HZ, format="WAV")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow_io as tfio
        return tfio.audio.decode_wav(buffer.getvalue(), dtype=tf.int16).shape[0] == 8
    # Whatever a library that does not fit this TensorFlow raises, the answer is no.
    except Exception:
        return False


def chosen_backend(backend: Backend) -> Literal["tensorflow_io", "soundfile"]:
    """Resolves "auto"; tensorflow-io where it works.

    Raises:
      SepconError: if tensorflow-io is asked for and does not work.
    """
    if backend == "auto":
        return "tensorflow_io" if tensorflow_io_works() else "soundfile"
    if backend not in ("tensorflow_io", "soundfile"):
        raise ValueError(f"backend: got {backend!r}, expected auto, tensorflow_io or soundfile")
    if backend == "tensorflow_io" and not tensorflow_io_works():
        raise SepconError(
            f"tensorflow-io does not load with TensorFlow {tf.__version__}; install "
            "tensorflow-io==0.37.1 with TensorFlow 2.16 or 2.17, or take backend 'soundfile'"
        )
    return backend


def decode_in_graph(
    path: tf.Tensor, *, codec: tf.Tensor, rate_hz: tf.Tensor, backend: Backend = "auto"
) -> tf.Tensor:
    """Decodes a file to int16 [samples], mono at 16 kHz, inside tf.data.

    Args:
      path: string [].
      codec: int32 [], number in `CODECS`, from the file's header.
      rate_hz: int32 [], from the file's header: no op of tensorflow-io tells it.
      backend: who decodes. Both give the same samples to within rounding.
    """
    if chosen_backend(backend) == "soundfile":
        audio = tf.numpy_function(_decode_bytes_path, [path], tf.int16, stateful=False)
        return tf.ensure_shape(audio, [None])
    samples = tf.switch_case(
        codec, [functools.partial(_tensorflow_io_samples, path, name) for name in CODECS]
    )  # [samples, channels] float32
    mono = tf.reduce_mean(samples, axis=1)
    finite = tf.reduce_all(tf.math.is_finite(mono))
    with tf.control_dependencies([tf.debugging.Assert(finite, [path, "holds NaN or infinite"])]):
        mono = tf.identity(mono)
    resampled = tf.cond(
        # The soundfile branch has resampled already.
        tf.logical_or(tf.equal(rate_hz, SAMPLE_RATE_HZ), tf.equal(codec, CODECS.index("other"))),
        lambda: mono,
        lambda: tf.ensure_shape(
            tf.numpy_function(_resample, [mono, rate_hz], tf.float32, stateful=False), [None]
        ),
    )
    scaled = tf.round(resampled * 32768.0)
    return tf.cast(tf.clip_by_value(scaled, -32768.0, 32767.0), tf.int16)


def _tensorflow_io_samples(path: tf.Tensor, codec: str) -> tf.Tensor:
    import tensorflow_io as tfio

    if codec == "other":
        audio = tf.numpy_function(_decode_bytes_path, [path], tf.int16, stateful=False)
        return tf.cast(tf.ensure_shape(audio, [None]), tf.float32)[:, tf.newaxis] / 32768.0
    data = tf.io.read_file(path)
    decode = {
        "wav16": lambda: tfio.audio.decode_wav(data, dtype=tf.int16),
        "wav24": lambda: tfio.audio.decode_wav(data, dtype=tf.int32),
        "wav_float": lambda: tfio.audio.decode_wav(data, dtype=tf.float32),
        "flac16": lambda: tfio.audio.decode_flac(data, dtype=tf.int16),
        "flac24": lambda: tfio.audio.decode_flac(data, dtype=tf.int32),
        "vorbis": lambda: tfio.audio.decode_vorbis(data),
        "mp3": lambda: tfio.audio.decode_mp3(data),
    }[codec]
    samples = tf.ensure_shape(decode(), [None, None])
    # 24 bits come left-justified in 32.
    full_scale = {tf.int16: 2.0**15, tf.int32: 2.0**31, tf.float32: 1.0}[samples.dtype]
    return tf.cast(samples, tf.float32) / full_scale


def _decode_bytes_path(path: bytes) -> np.ndarray:
    return decode_file(os.fsdecode(path))


def _resample(mono: np.ndarray, rate_hz: np.ndarray) -> np.ndarray:
    resampled = soxr.resample(mono, int(rate_hz), SAMPLE_RATE_HZ, quality="HQ")
    return resampled if len(resampled) else _one_sample(mono)
