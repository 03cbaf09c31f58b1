"""The page that a study ends with: its tables and figures, and what its plan shows beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sepcon.reports import comparison
from sepcon.reports.page import Figure, Section, interval_figure, write_report
from sepcon.studies.plan import Measure, Plan, Study, Table

REPORT_FILE = "report.html"


def write_study_report(
    plan: Plan,
    study: Study,
    *,
    title: str,
    origin: str,
    selection: Sequence[comparison.Summary],
    summaries: Sequence[comparison.Summary],
    tables: Mapping[str, Table],
) -> None:
    """Writes report.html into the run folder of a finished study.

    Args:
      plan: of the study.
      study: what was run.
      title: of the page.
      origin: what means are over and what made them, see `sepcon.studies.results.provenance`.
      selection: summaries of the measure for selection, one for each name.
      summaries: summaries of the test, one for each name; empty while settings are being chosen.
      tables: of the plan, by name.
    """
    sections = []
    if summaries:
        sections.append(_final_section(plan, study, summaries))
        if plan.measure.further:
            sections.append(_further_section(plan.measure, summaries))
    for table in tables.values():
        sections.append(Section(table.heading, list(table.paragraphs), table=table.cells))
    sections.append(_selection_section(plan.selection, study, selection))
    sections += plan.sections(study, selection, final=bool(summaries))
    write_report(
        study.root / REPORT_FILE,
        title=title,
        subtitle=f"Everything on this page comes from this run; logs/ has each command. {origin}",
        sections=sections,
    )


def _final_section(plan: Plan, study: Study, summaries: Sequence[comparison.Summary]) -> Section:
    measure = plan.measure
    return Section(
        plan.heading,
        [
            *measure.paragraphs,
            f"{study.compared_with('what the table says')}, paired by seed.",
        ],
        table=comparison.table(
            summaries, comparison.compared_columns(measure.column, measure.beside)
        ),
        figures=_figures(measure, summaries, study.figures),
    )


def _figures(
    measure: Measure,
    summaries: Sequence[comparison.Summary],
    figures: Mapping[str, Sequence[str]],
) -> list[Figure]:
    """One of all rows, and one of each group of them that has a name, or several names."""
    drawn = [_intervals(f"All rows: {measure.words}.", measure, summaries)]
    captions: dict[frozenset[str], list[str]] = {}
    for name, rows in figures.items():
        captions.setdefault(frozenset(rows), []).append(name)
    for group, names in captions.items():
        members = [summary for summary in summaries if summary.name in group]
        if 1 < len(members) < len(summaries):
            caption = f"By {', '.join(names)}: {measure.words}."
            drawn.append(_intervals(caption, measure, members))
    return drawn


def _intervals(caption: str, measure: Measure, summaries: Sequence[comparison.Summary]) -> Figure:
    return interval_figure(
        f"{caption} Bars: 95 % interval over seeds.",
        [(each.name, each.value.mean, *_drawable(each)) for each in summaries],
        x_label=measure.column.head,
    )


def _drawable(summary: comparison.Summary) -> tuple[float, float]:
    """The interval; of one seed without a bootstrap, where it is infinite, a point."""
    low, high = summary.value.low, summary.value.high
    return (low, high) if math.isfinite(high - low) else (summary.value.mean, summary.value.mean)


def _further_section(measure: Measure, summaries: Sequence[comparison.Summary]) -> Section:
    columns = (comparison.ROW, comparison.SEEDS, *measure.further)
    return Section(
        "Further measures",
        list(measure.further_paragraphs),
        table=comparison.table(summaries, columns),
    )


def _selection_section(
    measure: Measure, study: Study, selection: Sequence[comparison.Summary]
) -> Section:
    words = measure.words[0].upper() + measure.words[1:]
    columns = comparison.compared_columns(measure.column, measure.beside)
    return Section(
        "Selection",
        [
            f"{words}: choose settings by this table only. "
            f"{study.compared_with('what the table says')}, seed by seed.",
            *measure.paragraphs,
        ],
        table=comparison.table(selection, (*columns, *measure.further)),
    )
