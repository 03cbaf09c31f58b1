"""The files that a study writes at its end: a line for each run, and tables of the rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sepcon.reports import comparison
from sepcon.reports.results import RESULTS_FILE
from sepcon.runs import run_folder
from sepcon.runs.csv_text import csv_text
from sepcon.studies.plan import Measure, Plan, Result, Study, Table

CSV_FILE = "study.csv"
TABLE_FILE = "table.md"
SELECTION_FILE = "selection.md"

# What says which run a line of study.csv is of, and where it comes from.
_FIRST_COLUMNS = ("row", "rotation", "separator", "seed", "fold")
_LAST_COLUMNS = ("seconds", "steps", "commit", "gin_files", "gin_bindings")


def summarize(
    plan: Plan, study: Study, results: Sequence[Result], measure: Measure
) -> list[comparison.Summary]:
    """Summarizes the results of each row, and compares it with another row.

    Args:
      plan: of the study.
      study: which row is compared with which.
      results: of the plan.
      measure: one of the plan's two.

    Returns:
      One summary for each name of the results.
    """
    untrained, supervised = plan.ends(study)
    return comparison.summarize(
        plan.runs(results),
        baseline=study.baseline,
        against=study.against,
        measure=measure.key,
        untrained=untrained,
        supervised=supervised,
    )


def provenance(plan: Plan, study: Study, results: Sequence[Result], *, final: bool) -> str:
    """Describes how the tables were made: over what means are taken, how rows are compared.

    Args:
      plan: of the study.
      study: is finished.
      results: of the plan.
      final: whether anything of the test may be told.

    Returns:
      One paragraph, which stands below the tables.
    """
    rotations = _values(results, "rotation")
    parts = [f"Seeds {_list(_values(results, 'seed'))}"]
    if rotations:
        parts[0] += f" in each of the rotations {_list(rotations)}, which weigh the same"
    if separators := [each for each in _values(results, "separator") if each is not None]:
        parts[0] += (
            f"; rows with a separator are averaged over separators of seeds {_list(separators)} "
            "before anything else"
        )
    within = " within rotations" if rotations else ""
    parts.append(
        f"Intervals and p are Student's t over seeds{within}, of differences paired by seed"
        f"{' and rotation' if rotations else ''}; p is two-sided and not corrected for the number "
        "of rows"
    )
    if len(study.rows) > 1:
        parts.append(study.compared_with("the row under 'against'"))
    if any(f"{plan.measure.key}_low" in result for result in results):
        parts.append(
            "study.csv also has the bootstrap interval of each run, over test clips; with a single "
            "seed it is the interval shown here"
        )
    parts.append(plan.note(study, results, final=final))
    parts.append(f"Commit {_list(_values(results, 'commit'))}")
    told = ". ".join(part for part in parts if part)
    return f"{told}; study.csv has the gin files and bindings of each row."


def _values(results: Sequence[Result], key: str) -> list[object]:
    """All values of a column, each once, in the order in which they appear."""
    return list(dict.fromkeys(result[key] for result in results if key in result))


def _list(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def write_results(
    plan: Plan,
    root: Path,
    results: Sequence[Result],
    *,
    selection: Sequence[comparison.Summary],
    summaries: Sequence[comparison.Summary],
    tables: Mapping[str, Table],
    origin: str,
) -> None:
    """Writes study.csv, selection.md and, where there are `summaries`, table.md and results.json.

    Args:
      plan: of the study.
      root: run folder of the study.
      results: of the plan.
      selection: summaries of the measure for selection, one for each name.
      summaries: summaries of the test, one for each name; empty while settings are being chosen:
        then nothing that was measured on the test is written.
      tables: of the plan, by name.
      origin: see `provenance`.

    Raises:
      WriteError: a file cannot be written.
    """
    selected = comparison.compared_columns(plan.selection.column, plan.selection.beside)
    texts = {
        SELECTION_FILE: _table(selection, (*selected, *plan.selection.further), origin),
        CSV_FILE: csv_text(_cells(plan, results, final=bool(summaries))),
    }
    if summaries:
        compared = comparison.compared_columns(plan.measure.column, plan.measure.beside)
        texts[TABLE_FILE] = _table(summaries, (*compared, *plan.measure.further), origin)
        texts[RESULTS_FILE] = json.dumps(results, indent=2) + "\n"
    for name, table in tables.items():
        texts[f"{name}.md"] = f"{comparison.markdown(table.cells)}\n{origin}\n"
    for name, text in texts.items():
        run_folder.write_text(root / name, text)


def _table(
    summaries: Sequence[comparison.Summary], columns: Sequence[comparison.Column], origin: str
) -> str:
    return f"{comparison.markdown(comparison.table(summaries, columns))}\n{origin}\n"


def _cells(plan: Plan, results: Sequence[Result], *, final: bool) -> Iterator[list[object]]:
    """The table of all runs, its header first; if not `final`, nothing measured on the test."""
    present = {"row", *(key for result in results for key in result)}
    columns = _columns(plan, results) if final else _selection_columns(plan)
    header = [name for name in columns if name in present]
    yield list(header)
    for result in results:
        texts = {
            "row": result["name"],
            "gin_files": " ".join(result["gin_files"]),
            "gin_bindings": "; ".join(result["gin_bindings"]),
        }
        cells = {**result, **texts}
        yield [cells.get(name, "") for name in header]


def _selection_columns(plan: Plan) -> list[str]:
    """All that may be shown while settings are being chosen."""
    return [*_FIRST_COLUMNS, plan.selection.key, *_LAST_COLUMNS]


def _columns(plan: Plan, results: Sequence[Result]) -> list[str]:
    """All that results say, what matters first: a further number of a plan needs no line here."""
    key = plan.measure.key
    measured = [key, f"{key}_low", f"{key}_high", *(column.key for column in plan.measure.beside)]
    first = [*_FIRST_COLUMNS, *(name for name in measured if name)]
    said = dict.fromkeys(name for result in results for name in result)
    between = [name for name in said if name not in (*first, *_LAST_COLUMNS, "name")]
    return [*first, *between, *_LAST_COLUMNS]
