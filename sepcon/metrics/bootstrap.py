"""Percentile bootstrap: how much a figure depends on which clips or scenes were measured.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentile_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the percentiles of resampled values between which `confidence` of them lie.

    Args:
      values: [resamples] float.
      confidence: share of the values within the bounds, in 0..1; as many lie below as above them.
    """
    outside = 50 * (1 - confidence)
    lower, upper = np.percentile(values, [outside, 100 - outside])
    return float(lower), float(upper)


def mean_interval(
    groups: Sequence[Sequence[float] | np.ndarray],
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of the mean over all values; whole groups of values are resampled.

    Args:
      groups: [values] of each group, such as those of the active sources of a scene; groups of
        one value for a plain mean.
      num_resamples: the more, the steadier the bounds.
      confidence: share of resamples within the interval, in 0..1.
      seed: of the resampling; the same seed gives the same interval.

    Returns:
      Lower and upper bound.

    Raises:
      ValueError: there is no group, or one is empty.
    """
    sizes = np.array([len(group) for group in groups])
    if not len(sizes) or not sizes.all():
        raise ValueError(f"groups must hold values, got sizes {sizes.tolist()}")
    sums = np.array([np.sum(group) for group in groups], np.float64)
    draws = np.random.default_rng(seed).multinomial(
        len(sizes), np.full(len(sizes), 1 / len(sizes)), size=num_resamples
    )  # [resample, group]
    return percentile_interval((draws @ sums) / (draws @ sizes), confidence)
