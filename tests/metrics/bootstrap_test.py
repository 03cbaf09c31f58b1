"""Bootstrap intervals, against drawing groups in a loop and against the normal approximation."""

import numpy as np
import pytest

from sepcon.metrics.bootstrap import mean_interval, percentile_interval


def test_percentiles_of_known_values():
    assert percentile_interval(np.arange(1001.0), 0.9) == pytest.approx((50, 950))


def test_groups_are_drawn_whole():
    random = np.random.default_rng(0)
    groups = [random.normal(k % 3, size=k % 4 + 1) for k in range(30)]
    low, high = mean_interval(groups, num_resamples=4000)
    means = []
    for _ in range(4000):
        drawn = random.integers(len(groups), size=len(groups))
        means.append(np.mean(np.concatenate([groups[k] for k in drawn])))
    np.testing.assert_allclose([low, high], np.percentile(means, [2.5, 97.5]), atol=0.05)


def test_plain_means_have_the_interval_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(3, 2, size=400)
    low, high = mean_interval(values[:, np.newaxis], num_resamples=4000)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], values.mean() + np.array([-half, half]), atol=0.03)


def test_the_seed_decides_and_equal_values_leave_no_doubt():
    groups = [[0.0], [1.0, 5.0], [2.0]]
    assert mean_interval(groups) == mean_interval(groups)
    assert mean_interval(groups, seed=1) != mean_interval(groups, confidence=0.5, seed=1)
    assert mean_interval([[2.0]] * 5) == (2.0, 2.0)


@pytest.mark.parametrize("groups", [[], [[1.0], []]])
def test_nothing_to_draw_is_named(groups):
    with pytest.raises(ValueError, match="groups must hold values"):
        mean_interval(groups)
