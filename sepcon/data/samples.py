"""The one form in which samples are stored: int16, mono, at 16 kHz. Knows nothing of TensorFlow."""

from __future__ import annotations

import numpy as np

SAMPLE_RATE_HZ = 16000
FULL_SCALE = 32768.0


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Returns float samples [...] as int16: rounded half to even, loud ones held at the rails."""
    scaled = np.rint(np.asarray(audio, np.float32) * np.float32(FULL_SCALE))
    return np.clip(scaled, -32768, 32767).astype(np.int16)
