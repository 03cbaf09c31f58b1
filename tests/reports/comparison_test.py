"""Summaries over seeds against scipy's own interval and hand-made differences."""

import numpy as np
import pytest
from scipy import stats

from sepcon.reports import comparison
from sepcon.reports.comparison import AGAINST, DIFFERENCE, ROW, SEEDS, SUPERVISED_ABOVE


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
    np.testing.assert_allclose(other.differences, [[0.05, 0.1]])
    assert other.difference.p_value == pytest.approx(stats.ttest_1samp([0.05, 0.1], 0).pvalue)
    assert other.value.mean == pytest.approx(0.35)
    expected = stats.ttest_1samp([0.35, 0.2, 0.5], 0).confidence_interval(0.95)
    found = (other.value.low, other.value.high)
    np.testing.assert_allclose(found, [expected.low, expected.high])
    means = [other.estimates[key].mean for key in ("d_prime", "seconds")]
    assert (other.num_seeds, *means) == (3, pytest.approx(3.5), 3.0)


def test_one_seed_has_the_bootstrap_interval():
    (summary,) = comparison.summarize([row("only", 0, 0.4)], baseline="none")
    assert (summary.value.low, summary.value.high) == (pytest.approx(0.3), pytest.approx(0.6))


def in_world(name: str, rotation: str, separator: int | None, seed: int, value: float):
    return {**row(name, seed, value), "rotation": rotation, "separator": separator}


def test_rotations_are_strata_and_separators_are_averaged_first():
    base = {("a", 0): 0.1, ("a", 1): 0.2, ("b", 0): 0.5, ("b", 1): 0.7}
    other = {unit: (value + 0.01, value + 0.03) for unit, value in base.items()}
    other |= {("a", 1): (0.23, 0.25), ("b", 1): (0.74, 0.78)}
    rows = [in_world("base", *unit[:1], None, unit[1], value) for unit, value in base.items()]
    rows += [
        in_world("other", rotation, separator, seed, values[separator])
        for (rotation, seed), values in other.items()
        for separator in (0, 1)
    ]
    first, second = comparison.summarize(rows, baseline="base")
    counts = (second.num_rotations, second.num_separators, second.num_seeds)
    assert counts == (2, 2, 2)
    np.testing.assert_allclose(second.differences, [[0.02, 0.04], [0.02, 0.06]])
    expected = stats.ttest_ind([0.02, 0.04], [-0.02, -0.06])
    assert second.difference.p_value == pytest.approx(expected.pvalue)
    assert second.difference.mean == pytest.approx(0.035)
    cells = comparison.table([first, second], (ROW, SEEDS, DIFFERENCE))
    assert cells[1:] == [["base", "2 x 2", ""], ["other", "2 x 2 x 2", "+0.035 (+0.030 +0.040)"]]


def test_a_row_may_be_compared_with_another_one_than_the_baseline():
    rows = [row(name, seed, value + seed / 10) for seed in (0, 1)
            for name, value in (("base", 0.1), ("more", 0.3), ("both", 0.35))]  # fmt: skip
    against = {"both": "more", "more": ""}
    summaries = comparison.summarize(rows, baseline="base", against=against)
    cells = comparison.table(summaries, (ROW, DIFFERENCE, AGAINST))
    assert cells[1:] == [
        ["base", "", ""],
        ["more", "+0.200 (+0.200 +0.200)", ""],
        ["both", "+0.050 (+0.050 +0.050)", "more"],
    ]


def test_a_row_may_be_compared_with_none():
    rows = [row("base", 0, 0.1), row("other base", 0, 0.3)]
    against = {"other base": "other base"}
    summaries = comparison.summarize(rows, baseline="base", against=against)
    cells = comparison.table(summaries, (ROW, DIFFERENCE, AGAINST))
    assert cells == [["row"], ["base"], ["other base"]]


def test_the_distance_to_the_supervised_end():
    values = {"none": 0.2, "half": 0.3, "labels": 0.4}
    rows = [row(name, 0, value) for name, value in values.items()]
    ends = {"untrained": "none", "supervised": "labels"}
    summaries = comparison.summarize(rows, baseline="none", **ends)
    cells = comparison.table(summaries, (ROW, SUPERVISED_ABOVE))
    assert [line[1] for line in cells[1:]] == [
        "+0.200 (0% of the way)",
        "+0.100 (50% of the way)",
        "",
    ]
    # Where supervised training is not above the untrained encoder there is no way to go.
    ends = {"untrained": "labels", "supervised": "none"}
    summaries = comparison.summarize(rows, baseline="none", **ends)
    assert comparison.table(summaries, (SUPERVISED_ABOVE,))[2] == ["-0.100"]
    alone = comparison.summarize(rows, baseline="none")
    assert comparison.table(alone, (ROW, SUPERVISED_ABOVE))[0] == ["row"]


def test_a_column_is_there_when_any_row_has_it():
    rows = [{**row("a", seed, 0.3), "clip_accuracy": 0.5 + seed / 10} for seed in (0, 1)]
    rows += [{**row("b", 0, 0.3), "retrieval_mAP": 0.4}]
    rows += [{**row("b", 1, 0.3), "clip_accuracy": 0.9, "retrieval_mAP": 0.5}]
    summaries = comparison.summarize(rows, baseline="a")
    columns = (
        ROW,
        comparison.mean_column("linear_mAP"),
        comparison.mean_column("retrieval_mAP", head="retrieval mAP"),
        comparison.mean_column("clip_accuracy", head="clean clips"),
        comparison.interval_column("clip_accuracy", head="clean clips, 95 %"),
    )
    head, of_a, of_b = comparison.table(summaries, columns)
    place = head.index("clean clips")
    assert (of_a[place], of_b[place]) == ("0.550", "")
    expected = stats.ttest_1samp([0.5, 0.6], 0).confidence_interval(0.95)
    assert of_a[place + 1] == f"{expected.low:.3f} to {expected.high:.3f}"
    place = head.index("retrieval mAP")
    assert (of_a[place], of_b[place]) == ("", "0.450")
    assert "linear_mAP" not in head


def test_the_table_lines_up():
    rows = [row("a", 0, 0.25), row("a", 1, 0.35), row("longer name", 0, 0.5)]
    columns = comparison.short_columns(comparison.mean_column("mAP"))
    summaries = comparison.summarize(rows, baseline="a")
    text = comparison.align(comparison.table(summaries, columns))
    lines = text.splitlines()
    assert lines[1].startswith("-----------  ")
    assert len({line.index("0.") for line in lines[2:]}) == 1
    assert "+0.250" in lines[3]


def test_a_row_without_a_number_is_refused():
    with pytest.raises(ValueError, match="mAP must be a number, got 'x'"):
        comparison.summarize([{**row("a", 0, 0.1), "mAP": "x"}], baseline="a")
