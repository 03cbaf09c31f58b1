"""Decoding inside tf.data: with tensorflow-io where that loads, else with soundfile.

Both give the samples of `decode_file` to within rounding.
"""

from __future__ import annotations

import functools
import io
import os
import warnings
from typing import Literal

import numpy as np
import soundfile
import tensorflow as tf

from sepcon.audio.decode import decode_file, resample
from sepcon.audio.files import CODECS
from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.errors import SepconError

Backend = Literal["auto", "tensorflow_io", "soundfile"]


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
    return resample(mono, int(rate_hz))
