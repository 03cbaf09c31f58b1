"""Changes the sample rate of waveforms in memory."""

from __future__ import annotations

import numpy as np
import soxr


def resampled(waveform: np.ndarray, *, rate_hz: int, wanted_hz: int) -> np.ndarray:
    """Resamples a waveform with soxr at its quality HQ.

    Args:
      waveform: [samples] float32.
      rate_hz: its sample rate, above 0.
      wanted_hz: the rate of the result, above 0; with `rate_hz` the waveform is returned as it is.

    Returns:
      [about samples * wanted_hz / rate_hz] float32; at least one sample if the waveform has any.
    """
    if rate_hz == wanted_hz:
        return waveform
    changed = soxr.resample(waveform, rate_hz, wanted_hz, quality="HQ")
    return changed if len(changed) else waveform[:1]
