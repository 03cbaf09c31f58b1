"""`sepcon study`: several ways of doing one thing side by side, with intervals and p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sepcon.errors import SepconError
from sepcon.reports import comparison
from sepcon.reports.page import require_libraries
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.jobs import Job, run_jobs
from sepcon.runs.launch import Launch
from sepcon.studies.page import REPORT_FILE, write_study_report
from sepcon.studies.plan import Plan, Result, Study, checked_row
from sepcon.studies.results import CSV_FILE, provenance, summarize, write_results
from sepcon.studies.rows import Entries, StudyRow, matching, study_rows
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
    """Runs the commands of every row, and says what the rows are worth.

    Each step is a `sepcon` command of its own, whose log stands under run_dir/logs; what is
    finished is not done again, so a study goes on wherever it was stopped, and rows or seeds can be
    added later.

    A row is a name with gin files and bindings (what holds a '='). What is bound in the study's own
    gin files and on its command line holds for every row: the study's files come after those of a
    row, the bindings of the command line after those of a row.

    Settings are to be chosen by the selection table, which holds validation scores alone; the test
    is in the final table. Nothing of the study itself decides anything by the test.

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
        for any text -> the name of that row, their own for none. The last that fits holds.
      figures: figures of the page beside that of all rows: name -> names of the rows in it, in
        which * stands for any text.
      final: False leaves every test score out of all that is shown: for the time of choosing.
      title: of the report.
      workers: commands that run at once.
      threads: of each command; two commands of one thread do more than one of two.
      expected_seconds: verb -> seconds of a command on one core, for the time left before anything
        is measured.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The rows of results.json.

    Raises:
      SepconError: a row is not as it must be, told before anything is run; a command failed; the
        libraries of the extra `report` are missing; or the folder cannot be written.
    """
    _check_files(plan, launch)
    all_rows = study_rows(rows or {}, grid)
    drawn = _figures(all_rows, figures or {})
    chosen = _chosen(all_rows, only)
    planned = Study(
        root=Path(run_dir).expanduser().resolve(),
        rows=tuple(checked_row(plan.verb, row, launch, asks=plan.asks) for row in chosen),
        launch=launch,
        baseline=baseline or chosen[0].name,
        against=_others(all_rows, against or {}),
        threads=threads,
        expected_seconds={**plan.expected_seconds, **(expected_seconds or {})},
    )
    _check_compared(planned)
    plan.check(planned)
    require_libraries()
    jobs = plan.jobs(planned)
    _check_finished(jobs, launch)
    resuming.keep_configuration("study", planned.root, config_text)
    _run(jobs, planned, workers)
    return _conclude(plan, planned, title=title, figures=drawn, final=final)


def _check_files(plan: Plan, launch: Launch) -> None:
    """Refuses what would undo the rows without a word: it comes before their files by itself."""
    own = f"runs/{plan.verb}.gin"
    for file in launch.gin_files:
        if f"/{file}".endswith(f"/{own}"):
            raise SepconError(
                f"--gin_file={file}: every row has it already, and behind the rows' files it would "
                "win over them; leave it out"
            )


def _figures(
    rows: Sequence[StudyRow], figures: Mapping[str, Entries]
) -> dict[str, tuple[str, ...]]:
    names = [row.name for row in rows]
    return {
        figure: matching(f"study.figures: {figure!r}", patterns, names)
        for figure, patterns in figures.items()
    }


def _chosen(rows: Sequence[StudyRow], only: Entries) -> Sequence[StudyRow]:
    if not only:
        return rows
    names = matching("study.only", only, [row.name for row in rows])
    return [row for row in rows if row.name in names]


def _others(rows: Sequence[StudyRow], against: Mapping[str, str]) -> dict[str, str]:
    """What each row is compared with that is not compared with the baseline."""
    names = [row.name for row in rows]
    return {
        name: other
        for pattern, other in against.items()
        for name in matching("study.against", pattern, names)
    }


def _check_compared(planned: Study) -> None:
    """Raises a SepconError if a row is compared with one that is not run."""
    run = [row.name for row in planned.rows]
    compared = {"study.baseline": planned.baseline}
    compared |= {
        f"study.against of {name!r}": other
        for name, other in planned.against.items()
        if name in run
    }
    for setting, name in compared.items():
        if name not in run:
            raise SepconError(
                f"{setting} is {name!r}, expected the name of a row that is run: {', '.join(run)}"
            )


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


def _conclude(
    plan: Plan,
    planned: Study,
    *,
    title: str,
    figures: Mapping[str, Sequence[str]],
    final: bool,
) -> list[Result]:
    results = plan.results(planned)
    selection = summarize(plan, planned, results, plan.selection)
    summaries = summarize(plan, planned, results, plan.measure) if final else []
    origin = provenance(plan, planned, results, final=final)
    root = planned.root
    write_results(plan, root, results, selection=selection, summaries=summaries, origin=origin)
    write_study_report(
        plan,
        planned,
        title=title,
        origin=origin,
        figures=figures,
        selection=selection,
        summaries=summaries,
    )
    measure = plan.measure if final else plan.selection
    columns = comparison.short_columns(measure.column, measure.beside)
    print(comparison.align(comparison.table(summaries or selection, columns)))
    print(f"sepcon: {root / CSV_FILE}, {root / REPORT_FILE}")
    return results
