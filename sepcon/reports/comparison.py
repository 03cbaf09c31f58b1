"""Compares the rows of several seeds: means, intervals, and paired differences to a baseline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sepcon.metrics.student_t import Estimate, estimate
from sepcon.reports.results import Row

_UNKNOWN = Estimate(math.nan, -math.inf, math.inf, math.nan)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the runs of one name say together.

    Runs of one rotation and seed that differ in the separator are averaged first: they share
    scenes, first weights and batches, so they are no runs of their own. Then seeds vary within
    rotations, see `sepcon.metrics.student_t`.

    Attributes:
      name: shared by the rows.
      num_rotations: ways of splitting the data.
      num_separators: separators in each of them.
      num_seeds: seeds in each of them.
      measure: the column that is compared.
      estimates: of each column that holds a number in all rows. Of a single row the interval is its
        own, the bootstrap's, where it has one.
      against: what it is compared with, where that is not the baseline.
      differences: the measure minus that of what it is compared with, of the same rotation and
        seed, rotation by rotation; empty where the two have none in common or this is the baseline.
      difference: the estimate from them.
      supervised_lead: by how much the measure of the supervised end is above this one; NaN without
        that end.
      share_of_way: share of the distance from the untrained to the supervised end (1); NaN
        where one of them is missing, or supervised training is not above.
    """

    name: str
    num_rotations: int
    num_separators: int
    num_seeds: int
    measure: str
    estimates: Mapping[str, Estimate]
    against: str = ""
    differences: tuple[tuple[float, ...], ...] = ()
    difference: Estimate = _UNKNOWN
    supervised_lead: float = math.nan
    share_of_way: float = math.nan

    @property
    def value(self) -> Estimate:
        """Of the measure."""
        return self.estimates[self.measure]


def summarize(
    rows: Sequence[Row],
    *,
    baseline: str,
    against: Mapping[str, str] = MappingProxyType({}),
    measure: str = "mAP",
    untrained: str = "",
    supervised: str = "",
) -> list[Summary]:
    """Returns one summary for each name, in the order in which the names first appear.

    Args:
      rows: with `name`, `seed` and the measure, and with the ends of an interval behind `_low` and
        `_high` where a column has one; with `rotation` and `separator` where these vary.
      baseline: the name the others are compared with, seed by seed; "" for none.
      against: of names that are compared with another one, which; with itself is with none.
      measure: what is summarized and compared, a column of the rows.
      untrained: the name at the lower end of the scale, if there is one.
      supervised: the name at the upper end, if there is one.

    Raises:
      ValueError: a row's measure is no number.
    """
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    by_name = {name: [row for row in rows if row["name"] == name] for name in names}
    summaries = [_summarize(name, by_name[name], measure) for name in names]
    paired = []
    for each in summaries:
        other = against.get(each.name) or baseline
        found = (
            each
            if other == each.name
            else _paired(each, by_name[each.name], by_name.get(other, []))
        )
        told = "" if other in (baseline, each.name) else other
        paired.append(dataclasses.replace(found, against=told))
    means = {each.name: each.value.mean for each in summaries}
    low, high = means.get(untrained, math.nan), means.get(supervised, math.nan)
    return [_on_scale(each, low, high) if each.name != supervised else each for each in paired]


def _summarize(name: str, rows: Sequence[Row], measure: str) -> Summary:
    columns = [key for key in rows[0] if all(_is_number(row.get(key)) for row in rows)]
    for row in rows:
        if not _is_number(row[measure]):
            raise ValueError(f"row {name!r}: {measure} must be a number, got {row[measure]!r}")
    units = _units(rows, measure)
    return Summary(
        name=name,
        num_rotations=len({rotation for rotation, _ in units}),
        num_separators=len({row.get("separator") for row in rows}),
        num_seeds=len({seed for _, seed in units}),
        measure=measure,
        estimates={key: _estimate(rows, key) for key in columns},
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _estimate(rows: Sequence[Row], key: str) -> Estimate:
    found = estimate(_strata(_units(rows, key)))
    if len(rows) > 1 or f"{key}_low" not in rows[0]:
        return found
    low, high = (_number(rows[0], f"{key}_{end}") for end in ("low", "high"))
    return dataclasses.replace(found, low=low, high=high)


def _units(rows: Sequence[Row], key: str) -> dict[tuple[object, object], float]:
    """What counts as one run: of each rotation and seed, the mean over separators."""
    values: dict[tuple[object, object], list[float]] = {}
    for row in rows:
        unit = (row.get("rotation", ""), row["seed"])
        values.setdefault(unit, []).append(_number(row, key))
    return {unit: sum(each) / len(each) for unit, each in values.items()}


def _strata(units: Mapping[tuple[object, object], float]) -> list[list[float]]:
    strata: dict[object, list[float]] = {}
    for (rotation, _), value in units.items():
        strata.setdefault(rotation, []).append(value)
    return list(strata.values())


def _number(row: Row, key: str) -> float:
    return float(row[key])


def _paired(summary: Summary, rows: Sequence[Row], others: Sequence[Row]) -> Summary:
    own, reference = _units(rows, summary.measure), _units(others, summary.measure)
    common = {unit: value - reference[unit] for unit, value in own.items() if unit in reference}
    if not common:
        return summary
    differences = _strata(common)
    return dataclasses.replace(
        summary,
        differences=tuple(tuple(each) for each in differences),
        difference=estimate(differences),
    )


def _on_scale(summary: Summary, low: float, high: float) -> Summary:
    value = summary.value.mean
    share = (value - low) / (high - low) if high > low else math.nan
    return dataclasses.replace(summary, supervised_lead=high - value, share_of_way=share)


def _seeds(summary: Summary) -> str:
    """How many runs: rotations x separators x seeds, without what there is one of."""
    counts = (summary.num_rotations, summary.num_separators)
    return " x ".join(str(count) for count in (*(n for n in counts if n > 1), summary.num_seeds))


def _supervised(summary: Summary) -> str:
    if math.isnan(summary.supervised_lead):
        return ""
    lead = f"{summary.supervised_lead:+.3f}"
    if math.isnan(summary.share_of_way):
        return lead
    return f"{lead} ({summary.share_of_way:.0%} of the way)"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table of rows.

    Attributes:
      head: what stands above it.
      cell: gives its text from what the runs of a row say together; empty where they say nothing.
      key: the number of the runs that it shows, if it is one.
    """

    head: str
    cell: Callable[[Summary], str]
    key: str = ""


def mean_column(key: str, *, head: str = "", decimals: int = 3) -> Column:
    """Returns a column that shows the mean of a number over the runs of a row.

    Args:
      key: of the number in the results.
      head: of the column; by default the key.
      decimals: digits behind the point.
    """

    def cell(summary: Summary) -> str:
        found = summary.estimates.get(key)
        return "" if found is None else f"{found.mean:.{decimals}f}"

    return Column(head or key, cell, key)


def interval_column(key: str, *, head: str) -> Column:
    """Returns the column of the interval of a number that runs have."""

    def cell(summary: Summary) -> str:
        found = summary.estimates.get(key)
        return "" if found is None else interval_text(found.low, found.high)

    return Column(head, cell, key)


ROW = Column("row", lambda summary: summary.name)
SEEDS = Column("seeds", _seeds)
INTERVAL = Column(
    "95 % interval", lambda summary: interval_text(summary.value.low, summary.value.high)
)
DIFFERENCE = Column("difference, by seed", lambda summary: difference_text(summary))
DIFFERENCE_INTERVAL = Column(
    "difference's 95 % interval",
    lambda summary: interval_text(summary.difference.low, summary.difference.high, sign="+"),
)
P_VALUE = Column("p", lambda summary: _p_text(summary.difference.p_value))
AGAINST = Column("against", lambda summary: summary.against)
SUPERVISED_ABOVE = Column("supervised above", _supervised)
SECONDS = mean_column("seconds", decimals=0)


def short_columns(measure: Column, beside: Sequence[Column] = ()) -> tuple[Column, ...]:
    """Returns the columns that a terminal has room for."""
    return (ROW, SEEDS, measure, INTERVAL, *beside, DIFFERENCE, AGAINST, SECONDS)


def compared_columns(measure: Column, beside: Sequence[Column] = ()) -> tuple[Column, ...]:
    """Returns the columns of a comparison by one measure; what is `beside` follows its interval."""
    compared = (DIFFERENCE, DIFFERENCE_INTERVAL, P_VALUE, AGAINST)
    return (ROW, SEEDS, measure, INTERVAL, *beside, *compared)


def table(summaries: Sequence[Summary], columns: Sequence[Column]) -> list[list[str]]:
    """Returns the summaries as rows of cells, the head first; empty columns are left out."""
    cells = [[column.cell(summary) for summary in summaries] for column in columns]
    filled = [each for each in zip(columns, cells, strict=True) if any(each[1])]
    heads = [column.head for column, _ in filled]
    return [heads, *(list(row) for row in zip(*(texts for _, texts in filled), strict=True))]


def interval_text(low: float, high: float, sign: str = "") -> str:
    """Returns an interval as text, such as "0.295 to 0.305"; "" for one that is infinitely wide.

    Args:
      low: lower bound.
      high: upper bound.
      sign: "+" to show the signs of both.
    """
    return f"{low:{sign}.3f} to {high:{sign}.3f}" if math.isfinite(high - low) else ""


def _p_text(p_value: float) -> str:
    if math.isnan(p_value):
        return ""
    return "< 0.001" if p_value < 0.0005 else f"{p_value:.3f}"


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Returns a table as Markdown, its first row as the head."""
    rows = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def difference_text(summary: Summary) -> str:
    """Returns the mean difference and, behind it, those of seeds or, of several, of rotations."""
    strata = summary.differences
    if not strata:
        return ""
    parts = strata[0] if len(strata) == 1 else [sum(each) / len(each) for each in strata]
    mean = f"{summary.difference.mean:+.3f}"
    if len(parts) == 1:
        return mean
    return f"{mean} ({' '.join(f'{value:+.3f}' for value in parts)})"


def align(cells: Sequence[Sequence[str]]) -> str:
    """Returns a table as text with aligned columns and a rule under its head."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in cells]  # fmt: skip
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]])
