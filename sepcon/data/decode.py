"""From an audio file to samples: the one module that chooses the decoder.

`open_audio` reads Ogg Vorbis and Opus, FLAC, MP3, AIFF and WAV of every kind with libsndfile, in
blocks, mono at the file's own rate. `decode_file` makes of them what importers use, int16 at
16 kHz, by soxr (HQ): an hour at 192 kHz takes the memory of its result. `decode_in_graph` does the
same inside tf.data, with tensorflow-io where that loads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
import tensorflow as tf

from sepcon.data.clips import SAMPLE_RATE_HZ, to_int16
from sepcon.data.containers import cut_off
from sepcon.errors import SepconError, one_line

Backend = Literal["auto", "tensorflow_io", "soundfile"]

MAX_HOURS = 12
_RATES_HZ = (1_000, 768_000)
_BLOCK_FRAMES = 1 << 16
# A header may claim 1,024 channels: what is read at a time is bounded in samples too.
_BLOCK_SAMPLES = 1 << 20
# What an encoder may add or drop at the ends: two MPEG frames or one long Vorbis window.
_CODEC_SLACK_FRAMES = 8192
_EXACT_SUBTYPES = ("PCM", "FLOAT", "DOUBLE", "ALAW", "ULAW")
_UNKNOWN_FRAMES = 1 << 62

# How tensorflow-io has to be asked for each kind of file. "other" is soundfile's: 8-bit files,
# and 32-bit integer WAV, which tensorflow-io reads as float without complaint, as noise.
CODECS = ("other", "wav16", "wav24", "wav_float", "flac16", "flac24", "vorbis", "mp3")
_CODEC_OF = {
    ("WAV", "PCM_16"): "wav16",
    ("WAVEX", "PCM_16"): "wav16",
    ("WAV", "PCM_24"): "wav24",
    ("WAVEX", "PCM_24"): "wav24",
    ("WAV", "FLOAT"): "wav_float",
    ("FLAC", "PCM_16"): "flac16",
    ("FLAC", "PCM_24"): "flac24",
    ("OGG", "VORBIS"): "vorbis",
    ("MP3", "MPEG_LAYER_III"): "mp3",
    ("MPEG", "MPEG_LAYER_III"): "mp3",
}


@dataclasses.dataclass(frozen=True)
class AudioHeader:
    """What a file says of itself.

    Attributes:
      path: the file.
      codec: one of `CODECS`.
      container: libsndfile's name of the file's kind, such as WAV, WAVEX, FLAC, OGG.
      rate_hz: its sample rate.
      num_channels: its channels.
      num_frames: samples per channel, or None if the header leaves it open.
    """

    path: str
    codec: str
    container: str
    rate_hz: int
    num_channels: int
    num_frames: int | None


class _ForwardFile(soundfile.SoundFile):
    """Reads without seeking: soundfile seeks after each block, which fails on streamed FLAC."""

    def seekable(self) -> bool:
        return False


def _open(path: str) -> soundfile.SoundFile:
    """Opens a file or raises a SepconError that names the reason."""
    try:
        _check_readable(path)
        # As bytes: a name that is not valid UTF-8 cannot be encoded again by soundfile.
        return _ForwardFile(os.fsencode(path))
    except OSError as error:
        raise SepconError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise SepconError(
            f"{path}: is not audio that libsndfile knows ({_reason(error)}); "
            "expected WAV, FLAC, Ogg, MP3 or AIFF"
        ) from error


def _check_readable(path: str) -> None:
    """Raises a SepconError, or the OSError of the system, for what is no readable file."""
    if not os.path.exists(path):
        if os.path.islink(path):
            raise SepconError(f"{path}: is a link that leads nowhere; mend or remove it")
        raise SepconError(f"{path}: no such file; check the path")
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise SepconError(f"{path}: is a folder; give an audio file")
    if not stat.S_ISREG(mode):
        # Opening a pipe would wait for a writer forever.
        raise SepconError(f"{path}: is a pipe or a device; give an audio file")
    if os.path.getsize(path) == 0:
        raise SepconError(f"{path}: is empty (0 bytes); fetch or convert it again")
    # libsndfile would only say "System error".
    open(path, "rb").close()


def _reason(error: BaseException) -> str:
    text = getattr(error, "error_string", None) or one_line(error)
    if "does not exist" in text:  # what libsndfile says of an MP3 without a single frame
        text = "Format not recognised"
    if "SF_INFO" in text:  # ... and of a rate that it takes for a negative one
        text = "its header claims an impossible sample rate"
    return str(text).replace("Error : ", "").strip().rstrip(".")


def _header(path: str, file: soundfile.SoundFile) -> AudioHeader:
    low, high = _RATES_HZ
    if not low <= file.samplerate <= high:
        raise SepconError(
            f"{path}: claims a sample rate of {file.samplerate} Hz, expected {low} to {high}; "
            "its header is damaged"
        )
    num_frames = file.frames if file.frames < _UNKNOWN_FRAMES else None
    if num_frames is not None and num_frames > MAX_HOURS * 3600 * file.samplerate:
        raise SepconError(
            f"{path}: claims {num_frames} samples, expected at most {MAX_HOURS} hours; its header "
            "is damaged, or cut the recording into shorter files"
        )
    codec = _CODEC_OF.get((file.format, file.subtype), "other")
    return AudioHeader(path, codec, file.format, file.samplerate, file.channels, num_frames)


def read_header(path: str | Path) -> AudioHeader:
    """Reads what a file says of itself, without decoding it.

    Raises:
      SepconError: if it is missing, empty, cut off, or not audio.
    """
    path = str(path)
    with _open(path) as file:
        header = _header(path, file)
    _check_whole(path)
    return header


def _check_whole(path: str) -> None:
    try:
        fault = cut_off(path)
    except OSError as error:
        raise SepconError(f"{path}: cannot be read ({error.strerror}); check the disk") from error
    if fault is not None:
        raise SepconError(f"{path}: is cut off, {fault}; fetch or convert it again")


@contextlib.contextmanager
def quiet_decoder() -> Iterator[None]:
    """Sends nowhere what the process writes to its standard error, file descriptor 2.

    The MP3 decoder inside libsndfile tells there of every frame it does not like, past Python and
    without a switch. For callers that report faults themselves and have no other thread that does.
    """
    try:
        kept = os.dup(2)
    except OSError:  # There is no standard error.
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def open_audio(path: str | Path) -> Iterator[tuple[AudioHeader, Iterator[np.ndarray]]]:
    """Opens a file and gives its header and its samples, mono, [samples] float32 block by block.

    Channels are averaged; floats beyond 1 are kept. A file that holds fewer samples than its header
    claims is refused, once its blocks are exhausted: exactly for PCM and FLAC, beyond 8192 samples
    for Ogg and MP3, whose encoders add and drop some. An MP3 without a length in its header cannot
    be checked.

    Raises:
      SepconError: if the file is missing, a folder, a pipe, empty, not audio, cut off, damaged,
        holds no sample or one that is not a number, or is longer than 12 hours.
    """
    path = str(path)
    with _open(path) as file:
        header = _header(path, file)
        _check_whole(path)
        yield header, _checked_blocks(header, file)


def _checked_blocks(header: AudioHeader, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    path, num_frames = header.path, 0
    for block in _mono_blocks(path, file):
        num_frames += len(block)
        if num_frames > MAX_HOURS * 3600 * header.rate_hz:
            raise SepconError(f"{path}: is longer than {MAX_HOURS} hours; cut it into parts")
        yield block
    if num_frames == 0:
        raise SepconError(f"{path}: holds no samples; fetch or convert it again")
    claimed = header.num_frames or 0
    exact = file.subtype.startswith(_EXACT_SUBTYPES)
    if num_frames < claimed - (0 if exact else _CODEC_SLACK_FRAMES):
        raise SepconError(
            f"{path}: is cut off, its header claims {claimed} samples, it holds {num_frames}; "
            "fetch or convert it again"
        )


def decode_file(path: str | Path) -> np.ndarray:
    """Decodes a file to int16 [samples], mono at 16 kHz; at least one sample.

    Floats beyond 1 are held at the rails.

    Raises:
      SepconError: as `open_audio`.
    """
    with open_audio(path) as (header, blocks):
        resample = _resampler(header.rate_hz)
        decoded = []
        for block in blocks:
            decoded.append(to_int16(resample(block, False)))
        decoded.append(to_int16(resample(np.zeros(0, np.float32), True)))
    audio = np.concatenate(decoded)
    return audio if len(audio) else to_int16(_one_sample(block))


def _one_sample(mono: np.ndarray) -> np.ndarray:
    """Stands for a recording too short to be one sample at 16 kHz, so that it is not lost."""
    return mono.mean(keepdims=True, dtype=np.float32)


def _resampler(rate_hz: int):  # type: ignore[no-untyped-def]
    if rate_hz == SAMPLE_RATE_HZ:
        return lambda block, last: block
    stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
    return stream.resample_chunk


def _mono_blocks(path: str, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    start, num_frames = 0, max(1, min(_BLOCK_FRAMES, _BLOCK_SAMPLES // file.channels))
    while True:
        try:
            block = file.read(num_frames, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise SepconError(
                f"{path}: is damaged near sample {start} ({_reason(error)}); fetch it again"
            ) from error
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(bad):
            raise SepconError(
                f"{path}: sample {start + bad[0]} is not a number (NaN or infinite); "
                "expected finite samples, export it again"
            )
        if len(block):
            yield block.mean(axis=1, dtype=np.float32)
        if len(block) < num_frames:
            return
        start += len(block)


@dataclasses.dataclass
class DecodeReport:
    """Counts what became of the files of an import.

    Attributes:
      decoded: files that became clips.
      failures: one-line errors of the files that could not be decoded; each names its file.
      silent: files of zeros only; they hold nothing to learn from or to measure, and are skipped.
    """

    decoded: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    silent: list[str] = dataclasses.field(default_factory=list)

    def decode(self, path: str | Path) -> np.ndarray | None:
        """Decodes a file and counts it; None if it has to be skipped."""
        try:
            audio = decode_file(path)
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
