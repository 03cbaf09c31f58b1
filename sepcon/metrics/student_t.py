"""Student's t for runs that come in strata: means over seeds of several rotations at once.

What strata have in common (one test fold is easier than another) is not what repeated runs differ
by. So only deviations within strata count, with one variance for all; for a single stratum this is
the usual interval and the usual test of one sample. What is said holds for these strata: how much
others would differ, two or three cannot tell.
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
      low: lower end of the 95 % interval; infinitely low where no stratum holds two values.
      high: upper end.
      p_value: two-sided, of the mean being 0; NaN where there is no interval, or where all is 0.
    """

    mean: float
    low: float
    high: float
    p_value: float


def estimate(strata: Sequence[Sequence[float]], level: float = 0.95) -> Estimate:
    """Returns the mean of the strata's means with Student's t over what lies within them.

    Args:
      strata: values of each stratum; at least one stratum, none of them empty.
      level: of the interval.

    Raises:
      ValueError: there is nothing to average.
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
