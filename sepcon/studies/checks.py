"""What is checked of a study before anything is run: names, rows, what rows are compared with.

The verb and `--dry_run` call the same checks. They do not need TensorFlow.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcon.errors import SepconError, nearest
from sepcon.runs.launch import Launch
from sepcon.studies.plan import Plan, Study, checked_row
from sepcon.studies.rows import Entries, StudyRow, matching, study_rows


def checked_study(
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
    threads: int = 1,
    expected_seconds: Mapping[str, float] | None = None,
) -> Study:
    """Returns a study of which everything is right that can be checked before it runs.

    Names are checked first, which takes no time; then the configuration of every row is read.

    Args:
      run_dir: see `sepcon.verbs.study.study`, as for all that follows.
      plan: the kind of study.
      launch: how the other verbs are started.
      rows: name -> gin files and bindings.
      grid: factors of further rows.
      only: names of the rows to run.
      baseline: name of the row that the others are compared with.
      against: names of rows -> name of the row that they are compared with.
      figures: name of a figure -> names of the rows in it.
      threads: of each command.
      expected_seconds: verb -> seconds of a command on one core.

    Raises:
      SepconError: a name is none of the rows, two rows share a name or a folder, the gin files or
        bindings of a row are wrong, or the rows do not fit the plan.
    """
    _check_files(plan, launch)
    all_rows = study_rows(rows or {}, grid)
    names = [row.name for row in all_rows]
    chosen = matching("study.only", only, names) if only else names
    compared = baseline or chosen[0]
    others = _others(names, against or {})
    _check_compared(names, chosen, compared, others)
    drawn = {
        figure: matching(f"study.figures: {figure!r}", patterns, names)
        for figure, patterns in (figures or {}).items()
    }
    study = Study(
        root=Path(run_dir).expanduser().resolve(),
        rows=_checked_rows(plan, launch, [row for row in all_rows if row.name in chosen]),
        launch=launch,
        baseline=compared,
        against=others,
        figures=drawn,
        threads=threads,
        expected_seconds={**plan.expected_seconds, **(expected_seconds or {})},
    )
    plan.check(study)
    return study


def _check_files(plan: Plan, launch: Launch) -> None:
    """Refuses what would undo the rows without a word: it comes before their files by itself."""
    own = f"runs/{plan.verb}.gin"
    for file in launch.gin_files:
        if f"/{file}".endswith(f"/{own}"):
            raise SepconError(
                f"--gin_file={file}: every row has it already, and behind the rows' files it would "
                "win over them; leave it out"
            )


def _others(names: Sequence[str], against: Mapping[str, str]) -> dict[str, str]:
    """What each row is compared with that is not compared with the baseline."""
    return {
        name: other
        for pattern, other in against.items()
        for name in matching("study.against", pattern, names)
    }


def _check_compared(
    names: Sequence[str], chosen: Sequence[str], baseline: str, against: Mapping[str, str]
) -> None:
    """Raises a SepconError if a row is compared with one that is not there or not run."""
    compared = {"study.baseline": baseline}
    compared |= {
        f"study.against of {name!r}": other for name, other in against.items() if name in chosen
    }
    for setting, name in compared.items():
        if name not in chosen:
            left_out = ", which study.only leaves out" if name in names else ""
            raise SepconError(
                f"{setting} is {name!r}{left_out}, expected the name of a row that is run: "
                f"{', '.join(map(repr, chosen))}{'' if left_out else nearest(name, chosen)}"
            )


def _checked_rows(plan: Plan, launch: Launch, rows: Sequence[StudyRow]) -> tuple[StudyRow, ...]:
    return tuple(checked_row(plan.verb, row, launch, asks=plan.asks) for row in rows)


def dry_run(*, plan: Plan, **arguments: Any) -> list[tuple[str, str]]:
    """Checks a study as the verb would, and runs nothing.

    Args:
      plan: the kind of study.
      arguments: the others of the verb; those that `checked_study` does not take are not needed.

    Returns:
      The rows of a table to print: what was checked, and what would be done.

    Raises:
      SepconError: as `checked_study`.
    """
    taken = inspect.signature(checked_study).parameters
    given = {name: value for name, value in arguments.items() if name in taken}
    study = checked_study(plan=plan, **given)
    jobs = plan.jobs(study)
    finished = sum(job.done() for job in jobs)
    hours = sum(job.expected_seconds for job in jobs if not job.done()) / 3600
    return [
        ("rows", f"{len(study.rows)}, the configuration of each was read and is right"),
        *[(f"row {place}", row.name) for place, row in enumerate(study.rows, start=1)],
        ("compared with", study.baseline),
        ("commands", f"{len(jobs)}, {finished} of them finished"),
        ("data", "not opened here: the study's first commands, prepare, check it"),
        ("time", f"about {hours:.1f} hours of one core, as guessed before anything is measured"),
    ]
