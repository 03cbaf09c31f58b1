"""Makes a separator of one sample rate work on recordings of any rate, without losing a band."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sepcon.audio.resampling import resampled

Waveform = npt.NDArray[np.float32]

_FRAME_SECONDS = 0.032
# Below this mean square of the second difference (-100 dB) channels count as equally silent.
_STABILIZER = 1e-10


def at_rate(
    separate_window: Callable[[Waveform], Waveform], *, model_rate_hz: int, rate_hz: int
) -> Callable[[Waveform], Waveform]:
    """Returns a function that separates windows of another sample rate than the separator's.

    A window is resampled (soxr, HQ), separated, and its channels are resampled back. What the
    channels together then lack of the mixture, above all the band over half the lower rate, is
    added to them again (see `share_residual`), so that they sum to the mixture within rounding.

    Args:
      separate_window: [samples] -> [channel, samples] at `model_rate_hz`, all float32.
      model_rate_hz: the separator's rate.
      rate_hz: the rate of the windows.

    Returns:
      [samples] -> [channel, samples] at `rate_hz`; at least one sample.
    """

    def separate(window: Waveform) -> Waveform:
        channels = separate_window(resampled(window, rate_hz=rate_hz, wanted_hz=model_rate_hz))
        shares = local_shares(channels, frame_samples=round(_FRAME_SECONDS * model_rate_hz))
        back = np.zeros([len(channels), len(window)], np.float32)
        for channel, low in zip(back, channels, strict=True):
            high = resampled(low, rate_hz=model_rate_hz, wanted_hz=rate_hz)
            # There and back a few samples come or go at the end.
            length = min(len(high), len(channel))
            channel[:length] = high[:length]
        share_residual(window, back, shares=shares, frame_samples=_FRAME_SECONDS * rate_hz)
        return back

    return separate


def local_shares(channels: Waveform, *, frame_samples: int) -> Waveform:
    """Computes which share of the high frequencies of each frame is in each channel.

    The band that a separator does not hear lies just above the top of the band that it hears. The
    energy of a channel's second difference weighs a frequency f by f^4, so that the channel with
    the strongest high frequencies has the largest share, and not the loudest channel.

    Args:
      channels: [channel, samples] float32.
      frame_samples: samples of a frame.

    Returns:
      [channel, frames] float32, summing to 1 over the channels; equal ones where all is silent.
    """
    bend = np.diff(channels, n=2, axis=1, prepend=channels[:, :1], append=channels[:, -1:])
    num_channels, num_samples = channels.shape
    num_frames = -(-num_samples // frame_samples)
    bend = np.pad(bend, [(0, 0), (0, num_frames * frame_samples - num_samples)])
    framed = bend.reshape(num_channels, num_frames, frame_samples)
    power = np.mean(np.square(framed), axis=-1) + np.float32(_STABILIZER)  # [channel, frames]
    return power / power.sum(axis=0)


def share_residual(
    mixture: Waveform, channels: Waveform, *, shares: Waveform, frame_samples: float
) -> None:
    """Adds the difference between the mixture and the sum of the channels to the channels.

    This is mixture consistency (Wisdom et al. 2018, "Differentiable consistency constraints for
    improved deep speech enhancement") with weights that change over time, so that a source that
    sounds for a moment is not added to all channels. Afterwards the channels sum to the mixture
    within rounding.

    Args:
      mixture: [samples] float32.
      channels: [channel, samples] float32, changed in place.
      shares: [channel, frames] float32, summing to 1 over the channels; linear between the
        middles of the frames.
      frame_samples: samples of a frame of the shares, not always a whole number.
    """
    residual = mixture - channels.sum(axis=0, dtype=np.float64)
    middles = (np.arange(shares.shape[1]) + 0.5) * frame_samples
    places = np.arange(len(mixture))
    for channel, share in zip(channels, shares, strict=True):
        channel += residual * np.interp(places, middles, share)
