"""Audio files as they are: what a file says of itself, and its samples in blocks at its own rate.

libsndfile reads Ogg Vorbis and Opus, FLAC, MP3, AIFF and WAV of every kind. Whatever is wrong with
a file is told in one line that names it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import soundfile

from sepcon.audio.containers import layout_of
from sepcon.audio.formats import how_to_convert
from sepcon.audio.layout import Layout, PartOfFile
from sepcon.audio.quiet_decoder import quiet_decoder
from sepcon.errors import FileError, one_line

MAX_HOURS = 12
RATES_HZ = (1_000, 768_000)
_BLOCK_FRAMES = 1 << 18
# A header may claim 1,024 channels: what is read at a time is bounded in samples too.
_BLOCK_SAMPLES = 1 << 20
# What an encoder may add or drop at the ends: two MPEG frames or one long Vorbis window.
_CODEC_SLACK_FRAMES = 8192
_EXACT_SUBTYPES = ("PCM", "FLOAT", "DOUBLE", "ALAW", "ULAW")
_UNKNOWN_FRAMES = 1 << 62
# Beyond this a sum of channels or of a filter overflows. It is no recording any more.
_LOUDEST = 1e30

# What browsers play without a plug-in, by libsndfile's names of container and samples.
_PLAYED = frozenset(
    [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
    + [(container, "MPEG_LAYER_III") for container in ("MP3", "MPEG")]
    + [(kind, subtype) for kind in ("WAV", "WAVEX") for subtype in ("PCM_16", "PCM_24", "FLOAT")]
)
# The first bytes of files that libsndfile does not give to its MP3 decoder.
_NOT_MPEG = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"riff",
    b"fLaC",
    b"OggS",
    b"FORM",
    b".snd",
    b"dns.",
    b"caff",
)

FaultKind = Literal["missing", "unreadable", "empty", "not audio", "cut off", "damaged", "too long"]
FAULT_KINDS = get_args(FaultKind)


class AudioError(FileError):
    """A recording cannot be used. Its `kind` is one of `FAULT_KINDS`."""

    kind: FaultKind

    def __init__(self, kind: FaultKind, path: str, detail: str) -> None:
        super().__init__(kind, path, detail)


@dataclasses.dataclass(frozen=True)
class AudioHeader:
    """What a file says of itself.

    Attributes:
      path: the file.
      container: libsndfile's name of the file's kind, such as WAV, WAVEX, FLAC, OGG.
      subtype: libsndfile's name of how the samples are stored, such as PCM_16, FLOAT, VORBIS.
      rate_hz: its sample rate.
      num_channels: its channels.
      num_frames: samples per channel, or None if the header leaves it open.
    """

    path: str
    container: str
    subtype: str
    rate_hz: int
    num_channels: int
    num_frames: int | None

    @property
    def plays_in_browsers(self) -> bool:
        """Whether the usual browsers play such a file."""
        return (self.container, self.subtype) in _PLAYED


class _ForwardFile(soundfile.SoundFile):
    """Reads without seeking: soundfile seeks after each block, which fails on streamed FLAC."""

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def _open(path: str, *, to_end: bool = False) -> Iterator[tuple[Layout, _ForwardFile]]:
    """Opens a file, to be read to its end or not, or raises an AudioError that names the reason."""
    with contextlib.ExitStack() as stack:
        try:
            _check_readable(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            layout = layout_of(descriptor, to_end=to_end)
            file = stack.enter_context(_decoder(path, descriptor, layout))
        except OSError as error:
            raise AudioError(
                "unreadable", path, f"cannot be read ({error.strerror}); check its rights"
            ) from error
        except (soundfile.LibsndfileError, RuntimeError) as error:
            _check_whole(path, layout)  # It may say more than the decoder.
            detail = f"is not audio that libsndfile knows ({_reason(error)}); "
            cure = how_to_convert(path, layout.magic) or "expected WAV, FLAC, Ogg, MP3 or AIFF"
            raise AudioError("not audio", path, detail + cure) from error
        yield layout, file


def _decoder(path: str, descriptor: int, layout: Layout) -> _ForwardFile:
    part = layout.part
    with _quiet_if(not layout.magic.startswith(_NOT_MPEG)):
        # As bytes: a name that is not valid UTF-8 cannot be encoded again by soundfile.
        return _ForwardFile(os.fsencode(path) if part is None else PartOfFile(descriptor, part))


def _quiet_if(decoder_talks: bool) -> contextlib.AbstractContextManager[None]:
    return quiet_decoder() if decoder_talks else contextlib.nullcontext()


def _check_readable(path: str) -> None:
    """Raises an AudioError, or the OSError of the system, for what is no readable file."""
    if not os.path.exists(path):
        if os.path.islink(path):
            raise AudioError("missing", path, "is a link that leads nowhere; mend or remove it")
        raise AudioError("missing", path, "no such file; check the path")
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise AudioError("not audio", path, "is a folder; give an audio file")
    if not stat.S_ISREG(mode):
        # Opening a pipe would wait for a writer forever.
        raise AudioError("not audio", path, "is a pipe or a device; give an audio file")
    if os.path.getsize(path) == 0:
        raise AudioError("empty", path, "is empty (0 bytes); fetch or convert it again")


def _reason(error: BaseException) -> str:
    text = getattr(error, "error_string", None) or one_line(error)
    if "does not exist" in text:  # what libsndfile says of an MP3 without a single frame
        text = "Format not recognised"
    if "SF_INFO" in text:  # ... and of a rate that it takes for a negative one
        text = "its header is damaged, or claims an impossible sample rate"
    return str(text).replace("Error : ", "").strip().rstrip(".")


def _header(path: str, file: soundfile.SoundFile) -> AudioHeader:
    low, high = RATES_HZ
    if not low <= file.samplerate <= high:
        raise AudioError(
            "damaged",
            path,
            f"claims a sample rate of {file.samplerate} Hz, expected {low} to {high}; "
            "its header is damaged",
        )
    num_frames = file.frames if file.frames < _UNKNOWN_FRAMES else None
    if num_frames is not None and num_frames > MAX_HOURS * 3600 * file.samplerate:
        raise AudioError(
            "too long",
            path,
            f"claims {num_frames} samples, expected at most {MAX_HOURS} hours; its header "
            "is damaged, or cut the recording into shorter files",
        )
    return AudioHeader(path, file.format, file.subtype, file.samplerate, file.channels, num_frames)


def read_header(path: str | Path) -> AudioHeader:
    """Reads the header of a file, without decoding the audio.

    Args:
      path: the file.

    Returns:
      Its kind, sample rate, channels and length.

    Raises:
      AudioError: the file is missing, empty, cut off, or not audio.
    """
    path = str(path)
    with _open(path) as (layout, file):
        header = _header(path, file)
        _check_whole(path, layout)
    return header


def _check_whole(path: str, layout: Layout) -> None:
    if layout.cut is not None:
        raise AudioError("cut off", path, f"is cut off, {layout.cut}; fetch or convert it again")
    if layout.damage is not None:
        raise AudioError("damaged", path, layout.damage)


@contextlib.contextmanager
def open_audio(path: str | Path) -> Iterator[tuple[AudioHeader, Iterator[np.ndarray]]]:
    """Opens a file and decodes it block by block, at its own sample rate.

    The channels are averaged; floats beyond full scale are kept. Behind the last block the number
    of samples is compared with that of the header: for PCM and FLAC it must be the same, for Ogg
    and MP3, whose encoders add and drop some samples, at most 8192 may be missing. An MP3 file
    without a length in its header cannot be checked.

    Args:
      path: the file.

    Yields:
      The header, and an iterator over the blocks: [samples] float32, mono.

    Raises:
      AudioError: the file is missing, a folder, a pipe, empty, not audio, cut off or damaged; it
        holds no sample, or one that is NaN, infinite or absurdly large; or it is longer than 12
        hours.
    """
    path = str(path)
    with _open(path, to_end=True) as (layout, file):
        header = _header(path, file)
        _check_whole(path, layout)
        yield header, _checked_blocks(header, file)


def _checked_blocks(header: AudioHeader, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    path, num_frames = header.path, 0
    for block in _mono_blocks(header, file):
        num_frames += len(block)
        if num_frames > MAX_HOURS * 3600 * header.rate_hz:
            raise AudioError(
                "too long", path, f"is longer than {MAX_HOURS} hours; cut it into parts"
            )
        yield block
    if num_frames == 0:
        raise AudioError("empty", path, "holds no samples; fetch or convert it again")
    claimed = header.num_frames or 0
    exact = file.subtype.startswith(_EXACT_SUBTYPES)
    if num_frames < claimed - (0 if exact else _CODEC_SLACK_FRAMES):
        raise AudioError(
            "cut off",
            path,
            f"is cut off, its header claims {claimed} samples, it holds {num_frames}; "
            "fetch or convert it again",
        )


def _mono_blocks(header: AudioHeader, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    path, start = header.path, 0
    num_frames = max(1, min(_BLOCK_FRAMES, _BLOCK_SAMPLES // file.channels))
    # A FLAC decoder that is asked for more than there is takes what stands behind for damage.
    stop = header.num_frames if header.container == "FLAC" else None
    talks = header.container in ("MP3", "MPEG") or header.subtype.startswith("MPEG")
    # One for all blocks: memory that is new to the process costs as much as resampling.
    buffer = np.empty((num_frames, file.channels), np.float32)
    while stop is None or start < stop:
        wanted = num_frames if stop is None else min(num_frames, stop - start)
        try:
            with _quiet_if(talks):
                block = file.read(out=buffer[:wanted])
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(
                "damaged",
                path,
                f"is damaged near sample {start} ({_reason(error)}); fetch it again",
            ) from error
        if len(block):
            with np.errstate(over="ignore", invalid="ignore"):  # What is no number is looked for.
                mono = average_channels(block)
                _check_finite(path, start, block, mono)
            yield mono
        if len(block) < wanted:
            return
        start += len(block)


def average_channels(block: np.ndarray) -> np.ndarray:
    """Averages the channels of a recording.

    The channels are added one by one: numpy's mean along a short last axis is ten times slower.

    Args:
      block: [samples, channels] float32.

    Returns:
      [samples] float32.
    """
    if block.shape[1] == 1:
        return block[:, 0].astype(np.float32)
    total = np.add(block[:, 0], block[:, 1], dtype=np.float32)
    for channel in range(2, block.shape[1]):
        total += block[:, channel]
    total /= np.float32(block.shape[1])
    return total


def _check_finite(path: str, start: int, block: np.ndarray, mono: np.ndarray) -> None:
    # A number that is none makes both ends of the range none.
    if mono.min() > -_LOUDEST and mono.max() < _LOUDEST:
        return
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if len(bad):
        raise AudioError(
            "damaged",
            path,
            f"sample {start + bad[0]} is not a number (NaN or infinite); "
            "expected finite samples, export it again",
        )
    loud = np.flatnonzero(~(np.abs(mono) < _LOUDEST))
    raise AudioError(
        "damaged",
        path,
        f"sample {start + loud[0]} is over {_LOUDEST:g} times full scale; "
        "expected samples about -1 to 1, export it again",
    )
