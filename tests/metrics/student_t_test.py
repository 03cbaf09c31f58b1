"""Strata against scipy's tests of one and of two samples, which they come down to."""

import math

import numpy as np
import pytest
from scipy import stats

from sepcon.metrics.student_t import estimate

FIRST = [0.02, 0.05, -0.01, 0.04]
SECOND = [0.08, 0.03, 0.06]


def test_one_stratum_is_the_t_test_of_one_sample():
    found, expected = estimate([FIRST]), stats.ttest_1samp(FIRST, 0.0)
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(FIRST))
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_two_strata_are_the_t_test_of_two_samples():
    """The sum of two means is the difference of one and of the other's negative."""
    found, expected = estimate([FIRST, SECOND]), stats.ttest_ind(FIRST, np.negative(SECOND))
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx((np.mean(FIRST) + np.mean(SECOND)) / 2)
    np.testing.assert_allclose([found.low, found.high], np.array(interval) / 2)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_what_sets_strata_apart_does_not_widen_the_interval():
    apart = estimate([FIRST, [value + 1.0 for value in SECOND]])
    together = estimate([FIRST, SECOND])
    assert apart.high - apart.low == pytest.approx(together.high - together.low)
    assert apart.mean == pytest.approx(together.mean + 0.5)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        found = estimate([random.normal(0.0, 0.1, 3) + 0.5, random.normal(0.0, 0.1, 3) - 0.5])
        held += found.low <= 0.0 <= found.high
    assert 0.935 <= held / 2000 <= 0.965


def test_without_repetition_nothing_is_known():
    found = estimate([[0.1], [0.3]])
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert math.isnan(found.p_value)


def test_equal_values_have_no_spread():
    assert estimate([[0.1, 0.1, 0.1], [0.7, 0.7]]).p_value == 0.0
    assert math.isnan(estimate([[0.0, 0.0]]).p_value)


@pytest.mark.parametrize("strata", [[], [[0.1], []]])
def test_nothing_to_average_is_refused(strata):
    with pytest.raises(ValueError, match="strata must hold values"):
        estimate(strata)
