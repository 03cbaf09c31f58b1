"""Summaries over seeds against scipy's own interval and hand-made differences."""

import numpy as np
import pytest
from scipy import stats

from sepcon import comparison


def row(name: str, seed: int, value: float) -> dict[str, object]:
    return {
        "name": name,
        "seed": seed,
        "mAP": value,
        "mAP_low": value - 0.1,
        "mAP_high": value + 0.2,
        "d_prime": 10 * value,
        "seconds": seed,
    }


def test_mean_interval_and_paired_differences():
    rows = [row("base", seed, value) for seed, value in enumerate([0.1, 0.2, 0.3])]
    rows += [row("other", seed, value) for seed, value in [(2, 0.35), (0, 0.2), (7, 0.5)]]
    base, other = comparison.summarize(rows, baseline="base")
    assert base.differences == ()
    np.testing.assert_allclose(other.differences, [0.05, 0.1])
    assert other.mean_average_precision == pytest.approx(0.35)
    expected = stats.ttest_1samp([0.35, 0.2, 0.5], 0).confidence_interval(0.95)
    np.testing.assert_allclose([other.low, other.high], [expected.low, expected.high])
    assert (other.num_seeds, other.d_prime, other.seconds) == (3, pytest.approx(3.5), 3.0)


def test_one_seed_has_the_bootstrap_interval():
    (summary,) = comparison.summarize([row("only", 0, 0.4)], baseline="none")
    assert (summary.low, summary.high) == (pytest.approx(0.3), pytest.approx(0.6))


def test_the_table_lines_up():
    rows = [row("a", 0, 0.25), row("a", 1, 0.35), row("longer name", 0, 0.5)]
    text = comparison.align(comparison.table(comparison.summarize(rows, baseline="a")))
    lines = text.splitlines()
    assert lines[1].startswith("-----------  ")
    assert len({line.index("0.") for line in lines[2:]}) == 1
    assert "+0.250" in lines[3]


def test_a_row_without_a_number_is_refused():
    with pytest.raises(ValueError, match="mAP must be a number, got 'x'"):
        comparison.summarize([{**row("a", 0, 0.1), "mAP": "x"}], baseline="a")
