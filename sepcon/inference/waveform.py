"""What anybody has as a waveform becomes what a model hears: float32, mono, at its rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sepcon.audio.files import RATES_HZ
from sepcon.audio.resampling import resampled
from sepcon.errors import SepconError
from sepcon.models.products.waveform import LOUDEST, MOST_CHANNELS

# Integers by what they are at full scale, and the value that is silence.
_FULL_SCALE = {"int16": (2.0**15, 0), "int32": (2.0**31, 0), "uint8": (2.0**7, 128)}
_SHAPES = (
    "[samples], [samples, channels], [batch, samples] or [batch, samples, channels], at most "
    f"{MOST_CHANNELS} channels"
)


class Mono(NamedTuple):
    """Recordings of one length, as a model hears them.

    Attributes:
      waveform: [batch, samples] float32.
      is_batch: whether a batch was given, and not a single recording.
    """

    waveform: npt.NDArray[np.float32]
    is_batch: bool

    def as_given(self, value: np.ndarray) -> np.ndarray:
        """Takes the batch axis off a result [batch, ...] where none was given."""
        return value if self.is_batch else value[0]


def mono(waveform: Any, *, sample_rate_hz: int, wanted_hz: int | None = None) -> Mono:
    """Brings a waveform to the one form that models take.

    Args:
      waveform: array or tensor [samples], [samples, channels] as soundfile and scipy read it,
        [batch, samples] or [batch, samples, channels]; an axis of at most 64 at the end is one of
        channels, which are averaged. Float in [-1, 1], or int16, int32 or uint8, which are divided
        by full scale.
      sample_rate_hz: of the waveform.
      wanted_hz: the rate of the result; None keeps it.

    Raises:
      SepconError: it is nothing of the kind, is empty, or has samples that are NaN, infinite or
        beyond 100; or the rate is not one of sound.
    """
    rate_hz = _checked_rate(sample_rate_hz)
    samples, is_batch = _batch(_floats(_array(waveform)))
    _check_level(samples)
    if wanted_hz is not None and wanted_hz != rate_hz and len(samples):
        rows = [resampled(row, rate_hz=rate_hz, wanted_hz=wanted_hz) for row in samples]
        samples = np.stack(rows)
    return Mono(np.ascontiguousarray(samples), is_batch)


def _checked_rate(sample_rate_hz: Any) -> int:
    low, high = RATES_HZ
    try:
        rate = int(sample_rate_hz)
    except (TypeError, ValueError):
        rate = -1
    if rate != sample_rate_hz or not low <= rate <= high:
        raise SepconError(
            f"sample_rate_hz: got {sample_rate_hz!r}, expected a whole number of {low} to {high}"
        )
    return rate


def _array(waveform: Any) -> np.ndarray:
    if isinstance(waveform, str | bytes) or hasattr(waveform, "__fspath__"):
        raise SepconError(
            f"waveform: got the path {waveform!r}, expected samples; read them first: "
            "waveform, rate = soundfile.read(path)"
        )
    try:
        return np.asarray(waveform)
    except (ValueError, TypeError) as error:
        lengths = (
            f" of {len(waveform)} recordings of different lengths"
            if isinstance(waveform, Sequence)
            else ""
        )
        raise SepconError(
            f"waveform: got a {type(waveform).__name__}{lengths}, which is no array; a batch is of "
            "one length: give the others one by one"
        ) from error


def _floats(array: np.ndarray) -> np.ndarray:
    """Any samples as floating point in [-1, 1]."""
    if np.issubdtype(array.dtype, np.floating):
        return array
    if array.dtype.name not in _FULL_SCALE:
        raise SepconError(
            f"waveform: got {array.dtype.name}, expected float in [-1, 1], or int16, int32 or "
            "uint8, whose full scale is known; divide others by theirs"
        )
    full_scale, silence = _FULL_SCALE[array.dtype.name]
    # 32 bits need double precision until they are divided.
    return (array.astype(np.float64) - silence) / full_scale


def _batch(array: np.ndarray) -> tuple[np.ndarray, bool]:
    """Samples of any accepted shape as [batch, samples] float32, and whether they were a batch."""
    with np.errstate(over="ignore", invalid="ignore"):  # Their level is looked at afterwards.
        if array.ndim == 1 and array.size:
            return array[np.newaxis].astype(np.float32), False
        if array.ndim == 2 and _are_channels(array.shape):
            return array.mean(axis=1, dtype=np.float64)[np.newaxis].astype(np.float32), False
        if array.ndim == 2 and array.shape[1] > MOST_CHANNELS:
            return array.astype(np.float32), True
        if array.ndim == 3 and _are_channels(array.shape[1:]):
            return array.mean(axis=2, dtype=np.float64).astype(np.float32), True
    problem = "no samples" if array.size == 0 else f"shape {list(array.shape)}"
    raise SepconError(
        f"waveform: got {problem}, expected {_SHAPES}, more than {MOST_CHANNELS} samples of each "
        "where there is more than one axis"
    )


def _are_channels(shape: tuple[int, ...]) -> bool:
    samples, channels = shape
    return samples > MOST_CHANNELS >= channels > 0


def _check_level(samples: np.ndarray) -> None:
    if not samples.size:
        return
    peak = float(np.abs(samples).max())
    if not peak <= LOUDEST:
        what = "is not finite" if not np.isfinite(peak) else f"is beyond {LOUDEST:g}"
        raise SepconError(
            f"waveform: its peak is {peak:g}, which {what}; expected finite samples in [-1, 1]: "
            "divide integers by full scale"
        )
