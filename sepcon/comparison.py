"""Compares the rows of several seeds: means, intervals, and paired differences to a baseline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import stats

Row = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the runs of one name say together.

    Attributes:
      name: shared by the rows.
      num_seeds: how many rows.
      mean_average_precision: mean over the seeds.
      low: lower end of the 95 % interval: Student's t over seeds; the bootstrap's where there is
        one seed only, infinitely low where that is not known.
      high: upper end.
      d_prime: mean over the seeds.
      differences: mAP minus the baseline's of the same seed, seed by seed; empty where the two
        have no seed in common or this is the baseline.
      p_value: of the differences, by the paired t-test, two-sided; NaN for less than two.
      seconds: mean duration.
    """

    name: str
    num_seeds: int
    mean_average_precision: float
    low: float
    high: float
    d_prime: float
    differences: tuple[float, ...]
    p_value: float
    seconds: float


def summarize(rows: Sequence[Row], *, baseline: str, measure: str = "mAP") -> list[Summary]:
    """Returns one summary for each name, in the order in which the names first appear.

    Args:
      rows: with `name`, `seed`, the measure, `d_prime` and `seconds`; with the ends of an interval
        behind `_low` and `_high` where the measure has one.
      baseline: the name the others are compared with, seed by seed.
      measure: what is summarized: `mAP`, or `validation_mAP`.
    """
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    reference = {row["seed"]: _number(row, measure) for row in rows if row["name"] == baseline}
    return [
        _summarize(
            [row for row in rows if row["name"] == name],
            {} if name == baseline else reference,
            measure,
        )
        for name in names
    ]


def _summarize(rows: Sequence[Row], reference: Mapping[object, float], measure: str) -> Summary:
    values = np.array([_number(row, measure) for row in rows])
    low, high = t_interval(values)
    if len(rows) == 1 and f"{measure}_low" in rows[0]:
        low, high = (_number(rows[0], f"{measure}_{end}") for end in ("low", "high"))
    differences = tuple(
        _number(row, measure) - reference[row["seed"]] for row in rows if row["seed"] in reference
    )
    return Summary(
        name=str(rows[0]["name"]),
        num_seeds=len(rows),
        mean_average_precision=float(values.mean()),
        low=low,
        high=high,
        d_prime=float(np.mean([_number(row, "d_prime") for row in rows])),
        differences=differences,
        p_value=paired_p_value(differences),
        seconds=float(np.mean([_number(row, "seconds") for row in rows])),
    )


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Returns Student's t interval of the mean of `values` [n]; infinitely wide for n = 1."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def paired_p_value(differences: Sequence[float]) -> float:
    """Returns the p-value of the paired t-test, two-sided, that the mean difference is 0.

    NaN for less than two differences, and where all of them are 0.
    """
    if len(differences) < 2 or not np.any(differences):
        return math.nan
    if np.ptp(differences) == 0:
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


_CELLS: dict[str, Callable[[Summary], str]] = {
    "row": lambda summary: summary.name,
    "seeds": lambda summary: str(summary.num_seeds),
    "mAP": lambda summary: f"{summary.mean_average_precision:.3f}",
    "validation mAP": lambda summary: f"{summary.mean_average_precision:.3f}",
    "95 % interval": lambda summary: interval_text(summary.low, summary.high),
    "d-prime": lambda summary: f"{summary.d_prime:.2f}",
    "difference, by seed": lambda summary: difference_text(summary.differences),
    "difference's 95 % interval": lambda summary: interval_text(
        *t_interval(np.array(summary.differences)), sign="+"
    ),
    "p": lambda summary: "" if math.isnan(summary.p_value) else f"{summary.p_value:.3f}",
    "seconds": lambda summary: f"{summary.seconds:.0f}",
}
COLUMNS = ("row", "seeds", "mAP", "95 % interval", "d-prime", "difference, by seed", "seconds")
STUDY_COLUMNS = (*COLUMNS[:-1], "difference's 95 % interval", "p", "seconds")
SELECTION_COLUMNS = (
    "row",
    "seeds",
    "validation mAP",
    "95 % interval",
    "difference, by seed",
    "difference's 95 % interval",
    "p",
)


def table(summaries: Sequence[Summary], columns: Sequence[str] = COLUMNS) -> list[list[str]]:
    """Returns the summaries as rows of cells, the head first."""
    return [list(columns)] + [
        [_CELLS[column](summary) for column in columns] for summary in summaries
    ]


def interval_text(low: float, high: float, sign: str = "") -> str:
    """Returns an interval in words; nothing for one that is infinitely wide."""
    return f"{low:{sign}.3f} to {high:{sign}.3f}" if math.isfinite(high - low) else ""


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Returns a table as Markdown, its first row as the head."""
    rows = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def difference_text(differences: Sequence[float]) -> str:
    """Returns the mean difference and, behind it, that of each seed."""
    if not differences:
        return ""
    mean = f"{np.mean(differences):+.3f}"
    if len(differences) == 1:
        return mean
    return f"{mean} ({' '.join(f'{value:+.3f}' for value in differences)})"


def align(cells: Sequence[Sequence[str]]) -> str:
    """Returns a table as text with aligned columns and a rule under its head."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in cells]  # fmt: skip
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]])


def _number(row: Row, key: str) -> float:
    value = row[key]
    if not isinstance(value, int | float):
        raise ValueError(f"row {row['name']!r}: {key} must be a number, got {value!r}")
    return float(value)
