"""How much faster than real time a model is, on one core."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

_SECONDS, _CALLS = 10.0, 5


def times_real_time(
    model: Callable[[tf.Tensor], Any], sample_rate_hz: int, *, seconds: float = _SECONDS
) -> float:
    """Measures a model on noise: seconds of sound for each second of processor time.

    The time is that of all threads of this process, so that it is what one core would take, however
    many there are; the median of five calls, after one that is not counted.

    Args:
      model: waveform [1, samples] float32 to anything.
      sample_rate_hz: of the waveform.
      seconds: its length.
    """
    noise = np.random.default_rng(0).normal(scale=0.1, size=(1, round(seconds * sample_rate_hz)))
    waveform = tf.constant(noise, tf.float32)
    model(waveform)
    spent = []
    for _ in range(_CALLS):
        before = time.process_time()
        model(waveform)
        spent.append(time.process_time() - before)
    return seconds / max(statistics.median(spent), 1e-6)
