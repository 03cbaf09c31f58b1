"""Compares the rows of several seeds: means, intervals, and paired differences to a baseline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

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
        one seed only.
      high: upper end.
      d_prime: mean over the seeds.
      differences: mAP minus the baseline's of the same seed, seed by seed; empty where the two
        have no seed in common or this is the baseline.
      seconds: mean duration.
    """

    name: str
    num_seeds: int
    mean_average_precision: float
    low: float
    high: float
    d_prime: float
    differences: tuple[float, ...]
    seconds: float


def summarize(rows: Sequence[Row], *, baseline: str) -> list[Summary]:
    """Returns one summary for each name, in the order in which the names first appear.

    Args:
      rows: with `name`, `seed`, `mAP`, `mAP_low`, `mAP_high`, `d_prime` and `seconds`.
      baseline: the name the others are compared with, seed by seed.
    """
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    reference = {row["seed"]: _number(row, "mAP") for row in rows if row["name"] == baseline}
    return [
        _summarize([row for row in rows if row["name"] == name], reference, name != baseline)
        for name in names
    ]


def _summarize(rows: Sequence[Row], reference: Mapping[object, float], compare: bool) -> Summary:
    values = np.array([_number(row, "mAP") for row in rows])
    low, high = t_interval(values)
    if len(rows) == 1:
        low, high = _number(rows[0], "mAP_low"), _number(rows[0], "mAP_high")
    differences = tuple(
        _number(row, "mAP") - reference[row["seed"]]
        for row in rows
        if compare and row["seed"] in reference
    )
    return Summary(
        name=str(rows[0]["name"]),
        num_seeds=len(rows),
        mean_average_precision=float(values.mean()),
        low=low,
        high=high,
        d_prime=float(np.mean([_number(row, "d_prime") for row in rows])),
        differences=differences,
        seconds=float(np.mean([_number(row, "seconds") for row in rows])),
    )


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Returns Student's t interval of the mean of `values` [n]; infinitely wide for n = 1."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def table(summaries: Sequence[Summary]) -> list[list[str]]:
    """Returns the summaries as rows of cells, the head first."""
    head = ["row", "seeds", "mAP", "95 % interval", "d-prime", "difference, by seed", "seconds"]
    return [head] + [
        [
            summary.name,
            str(summary.num_seeds),
            f"{summary.mean_average_precision:.3f}",
            f"{summary.low:.3f} to {summary.high:.3f}",
            f"{summary.d_prime:.2f}",
            difference_text(summary.differences),
            f"{summary.seconds:.0f}",
        ]
        for summary in summaries
    ]


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
