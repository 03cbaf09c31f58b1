"""Sample rates of waveforms in memory."""

from __future__ import annotations

import numpy as np
import soxr


def resampled(waveform: np.ndarray, *, rate_hz: int, wanted_hz: int) -> np.ndarray:
    """Resamples [samples] float32 (soxr, HQ); what is not empty never becomes it."""
    if rate_hz == wanted_hz:
        return waveform
    changed = soxr.resample(waveform, rate_hz, wanted_hz, quality="HQ")
    return changed if len(changed) else waveform[:1]
