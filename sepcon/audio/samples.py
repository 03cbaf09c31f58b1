"""The one form in which samples are stored: int16, mono, at 16 kHz. Knows nothing of TensorFlow."""

from __future__ import annotations

import numpy as np

SAMPLE_RATE_HZ = 16000
FULL_SCALE = 32768.0


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Converts samples to 16-bit integers.

    Args:
      audio: [...] float, full scale 1.

    Returns:
      [...] int16: rounded half to even; what is beyond full scale is clipped.
    """
    scaled = np.array(audio, np.float32)
    with np.errstate(over="ignore"):  # What becomes infinite is held at the rails, too.
        scaled *= np.float32(FULL_SCALE)
    # In place: importers spend much of their time on memory that is not in the cache.
    np.rint(scaled, out=scaled)
    np.minimum(scaled, np.float32(32767), out=scaled)
    return np.maximum(scaled, np.float32(-32768), out=scaled).astype(np.int16)
