"""`sepcon study`: several ways of doing one thing side by side, with intervals and p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sepcon.reports import comparison
from sepcon.reports.page import require_libraries
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.jobs import Job, run_jobs
from sepcon.runs.launch import Launch
from sepcon.studies.checks import checked_study
from sepcon.studies.page import REPORT_FILE, write_study_report
from sepcon.studies.plan import Plan, Result, Study
from sepcon.studies.results import CSV_FILE, provenance, summarize, write_results
from sepcon.studies.rows import Entries
from sepcon.verbs import resuming
from sepcon.verbs.registry import VERBS


@claims_run_dir
def study(
    *,
    run_dir: str | Path,
    plan: Plan,
    launch: Launch,
    rows: Mapping[str, Entries] | None = None,
    grid: Sequence[Mapping[str, Entries]] = (),
    only: Entries = (),
    baseline: str = "",
    against: Mapping[str, str] | None = None,
    figures: Mapping[str, Entries] | None = None,
    final: bool = True,
    title: str = "sepcon study",
    workers: int = 2,
    threads: int = 1,
    expected_seconds: Mapping[str, float] | None = None,
    config_text: str = "",
) -> list[Result]:
    """Runs the commands of every row, and compares the rows.

    Each step is a `sepcon` command of its own, with a log under run_dir/logs. Finished commands are
    not run again: a study goes on where it was stopped, and rows or seeds can be added later.

    A row is a name with gin files and bindings (an entry with a '=' is a binding). What is bound in
    the study's own gin files and on its command line holds for every row: the study's files are
    read after those of a row, and the bindings of the command line after those of a row.

    Choose settings by the selection table, which holds validation scores only. The final table has
    the test scores; nothing in a study is decided by them.

    Writes study.csv (a line for each run), results.json (the same with all that was measured),
    selection.md, table.md and report.html.

    Args:
      run_dir: receives everything.
      plan: the kind of study, see `sepcon.studies.plan`.
      launch: how the other verbs are started.
      rows: name -> gin files and bindings.
      grid: further rows, before those: one for each combination of the choices of several factors,
        see `sepcon.studies.rows.study_rows`.
      only: the names of the rows to run, in which * stands for any text; all by default.
      baseline: name of the row that the others are compared with seed by seed; the first row by
        default.
      against: rows that are compared with another row than the baseline: names, in which * stands
        for any text -> the name of the other row; a row's own name for no comparison. If several
        entries fit a row, the last one holds.
      figures: figures of the page beside that of all rows: name -> names of the rows in it, in
        which * stands for any text.
      final: False leaves every test score out of everything that is shown, while settings are still
        being chosen.
      title: of the report.
      workers: commands that run at once.
      threads: of each command; two commands of one thread do more than one command of two.
      expected_seconds: verb -> seconds of a command on one core, for the time left before anything
        is measured.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The rows of results.json.

    Raises:
      SepconError: a name or a row is wrong (see `checked_study`; nothing has been run then); a
        command failed; the libraries of the extra `report` are missing; or the folder cannot be
        written.
    """
    planned = checked_study(
        run_dir=run_dir,
        plan=plan,
        launch=launch,
        rows=rows,
        grid=grid,
        only=only,
        baseline=baseline,
        against=against,
        figures=figures,
        threads=threads,
        expected_seconds=expected_seconds,
    )
    require_libraries()
    jobs = plan.jobs(planned)
    _check_finished(jobs, launch)
    resuming.keep_configuration("study", planned.root, config_text)
    _run(jobs, planned, workers)
    return _conclude(plan, planned, title=title, final=final)


def _check_finished(jobs: Sequence[Job], launch: Launch) -> None:
    """Refuses rows that are finished under settings other than those that they have now.

    A finished command is not started again, and could not say so itself.
    """
    for job in jobs:
        text = launch.text(job.arguments) if job.done() else ""
        if text:
            verb = VERBS[job.arguments[0]].function.partition(":")[2]
            run_dir = next(w for w in job.arguments if w.startswith("--run_dir=")).partition("=")[2]
            resuming.check(verb, Path(run_dir), config_text=text, finished=True)


def _run(jobs: Sequence[Job], planned: Study, workers: int) -> None:
    print(f"sepcon: {len(jobs)} stages, {workers} at once, into {planned.root}", flush=True)
    command = planned.launch.command
    run_jobs(
        jobs,
        log_dir=planned.root / "logs",
        workers=workers,
        # What TensorFlow says at its start is no error, and shown jobs are heard.
        environment={"TF_CPP_MIN_LOG_LEVEL": "3"},
        **({"command": command} if command else {}),
    )


def _conclude(plan: Plan, planned: Study, *, title: str, final: bool) -> list[Result]:
    results = plan.results(planned)
    selection = summarize(plan, planned, results, plan.selection)
    summaries = summarize(plan, planned, results, plan.measure) if final else []
    tables = plan.tables(planned, results) if final else {}
    origin = provenance(plan, planned, results, final=final)
    root = planned.root
    write_results(
        plan,
        root,
        results,
        selection=selection,
        summaries=summaries,
        tables=tables,
        origin=origin,
    )
    write_study_report(
        plan,
        planned,
        title=title,
        origin=origin,
        selection=selection,
        summaries=summaries,
        tables=tables,
    )
    measure = plan.measure if final else plan.selection
    columns = comparison.short_columns(measure.column, measure.beside)
    print(comparison.align(comparison.table(summaries or selection, columns)))
    print(f"sepcon: {root / CSV_FILE}, {root / REPORT_FILE}")
    return results
