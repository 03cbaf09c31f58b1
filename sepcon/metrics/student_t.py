"""Student's t for a mean over strata: the seeds of several rotations at once.

A stratum is a rotation of the data, its values are those of the seeds. Strata may have different
means (one test fold is easier than another), and this difference says nothing about how much a seed
changes the result. So the variance is estimated from the deviations of values from the mean of
their own stratum, pooled over all strata. With a single stratum this is the usual interval and the
usual t-test of one sample. The result is about these strata: two or three of them do not tell how
different others would be.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import special


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean and how well it is known.

    Attributes:
      mean: over the strata, each of the same weight.
      low: lower end of the interval; -inf if no stratum has two values.
      high: upper end; inf if no stratum has two values.
      p_value: two-sided, of the hypothesis that the mean is 0; NaN if no stratum has two values, or
        if all values are 0.
    """

    mean: float
    low: float
    high: float
    p_value: float


def estimate(strata: Sequence[Sequence[float]], level: float = 0.95) -> Estimate:
    """Returns the mean of the means of the strata, with its interval and p-value.

    The degrees of freedom are the number of values less the number of strata.

    Args:
      strata: the values of each stratum; at least one stratum, none of them empty.
      level: confidence level of the interval, in 0..1.

    Raises:
      ValueError: there is no stratum, or one is empty.
    """
    if not strata or not all(len(values) for values in strata):
        raise ValueError(f"strata must hold values, got {[len(values) for values in strata]}")
    mean = float(np.mean([np.mean(values) for values in strata]))
    freedom = sum(len(values) - 1 for values in strata)
    if not freedom:
        return Estimate(mean, -math.inf, math.inf, math.nan)
    # Equal values are exactly without spread, whatever their mean rounds to.
    arrays = [np.asarray(values, np.float64) for values in strata]
    squares = sum(float(np.sum((each - each.mean()) ** 2)) for each in arrays if np.ptp(each))
    share = sum(1 / len(values) for values in strata) / len(strata) ** 2
    error = math.sqrt(squares / freedom * share)
    half = float(special.stdtrit(freedom, 0.5 + level / 2)) * error
    return Estimate(mean, mean - half, mean + half, _p_value(mean, error, freedom))


def _p_value(mean: float, error: float, freedom: int) -> float:
    if not error:
        return 0.0 if mean else math.nan
    return float(2 * special.stdtr(freedom, -abs(mean) / error))
