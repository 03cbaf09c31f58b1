"""What training reads of each clip, checked against what its views and its front-end want."""

from __future__ import annotations

from sepcon.audio.log_mel import LogMel
from sepcon.data.clips import ClipDataset
from sepcon.errors import SepconError
from sepcon.views.sampler import ViewSampler


def check_rate(clips: ClipDataset, log_mel: LogMel) -> None:
    """Checks that the clips have the rate that the front-end wants.

    Raises:
      SepconError: they do not.
    """
    if clips.sample_rate_hz != log_mel.sample_rate_hz:
        raise SepconError(
            f"{clips.name}: clips are at {clips.sample_rate_hz} Hz, but the front-end wants "
            f"{log_mel.sample_rate_hz} Hz; bind both to one rate"
        )


def clip_samples(clips: ClipDataset, clip_seconds: float | None, views: ViewSampler) -> int:
    """Returns the samples to read of each clip: `clip_seconds`, or the length that all have.

    Raises:
      SepconError: clips differ in length and nothing says what to read, or a patch is longer.
    """
    samples = clips.clip_samples
    if clip_seconds is not None:
        samples = round(clip_seconds * clips.sample_rate_hz)
    if samples is None:
        raise SepconError(
            f"{clips.name}: clips differ in length; bind clip_seconds to what shall be read of each"
        )
    if samples < views.patch_samples:
        raise SepconError(
            f"{clips.name}: clips of {samples} samples are shorter than a patch of "
            f"{views.patch_samples}; take a shorter views.patch_seconds"
        )
    return samples
