"""`sepcon study`: rows times seeds, from the scenes to a table with intervals and p-values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepcon.embeddings.benchmark import LOG_MEL_STATISTICS, UNTRAINED_ENCODER
from sepcon.errors import SepconError
from sepcon.reports import comparison
from sepcon.reports.page import require_libraries
from sepcon.reports.results import RESULTS_FILE
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.jobs import run_jobs
from sepcon.studies.page import write_study_report
from sepcon.studies.plan import ONE_ROTATION, Plan
from sepcon.studies.results import Row, csv_text, provenance, study_results
from sepcon.studies.rows import Launch

CSV_FILE = "study.csv"
TABLE_FILE = "table.md"
SELECTION_FILE = "selection.md"
# What the benchmark calls the lower end of the scale.
_UNTRAINED = "untrained encoder"


@claims_run_dir
def study(
    *,
    run_dir: str | Path,
    rows: Sequence[str],
    launch: Launch,
    seeds: Sequence[int] = (0,),
    baseline: str = "",
    rotations: Mapping[str, Sequence[str]] = ONE_ROTATION,
    separator_seeds: Sequence[int] = (),
    states: Mapping[str, int | None] | None = None,
    loudness_of: str = "late",
    baselines: Sequence[str] = (LOG_MEL_STATISTICS, UNTRAINED_ENCODER),
    on_the_fly: bool = False,
    final: bool = True,
    title: str = "sepcon study",
    workers: int = 2,
    threads: int = 1,
    expected_seconds: Mapping[str, float] | None = None,
    config_text: str = "",
) -> list[Row]:
    """Pretrains and measures every row with every seed, and says what the rows are worth.

    Each step is a `sepcon` command of its own, whose log stands under run_dir/logs; what is
    finished is not done again, so a study goes on wherever it was stopped, and rows or seeds can be
    added later. Rows share scenes, separator and stored channels.

    Settings are to be chosen by the selection table, which holds validation scores alone; the test
    is in the final table. Nothing of the study itself decides anything by the test.

    Writes study.csv (a line for each row and seed), results.json (the same with all that the
    benchmark says), selection.md, table.md and report.html.

    Args:
      run_dir: receives everything.
      rows: gin files that `sepcon pretrain` takes after runs/pretrain.gin, one for each row.
      launch: how the other verbs are started.
      seeds: of each row's weights, batches and classifiers; the separator is shared.
      baseline: name of the row that the others are compared with seed by seed; the first row by
        default.
      rotations: ways to split the data: name -> gin bindings that every command gets behind the
        study's, say `SceneRecipe.test_fold = 3`. All rows and seeds are run in each of them.
      separator_seeds: of several, a separator is trained from each in every rotation, and rows that
        need one are run with each; () for one, whose seed is SEED.
      states: convergence states of the separator by the names that rows use: step, or None for
        the last.
      loudness_of: the state whose channels' energies random masks take over.
      baselines: see `sepcon.embeddings.benchmark`; () for none.
      on_the_fly: runs separators inside the training step, in place of storing their channels once.
        `sepcon channel_cost` tells what either costs.
      final: False leaves every test score out of all that is shown: for the time of choosing.
      title: of the report.
      workers: commands that run at once.
      threads: of each command; two commands of one thread do more than one of two.
      expected_seconds: of each verb on one core, for the time left before anything is measured.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The rows of results.json.

    Raises:
      SepconError: a row's file is not as it must be, told before anything is run; a command failed;
        the libraries of the extra `report` are missing; or the folder cannot be written.
    """
    root = Path(run_dir).expanduser().resolve()
    plan = Plan(
        root=root,
        words=launch.words,
        rows=tuple(launch.read_row(file, ()) for file in rows),
        seeds=tuple(seeds),
        rotations=dict(rotations),
        separator_seeds=tuple(separator_seeds),
        states=dict(states or {}),
        loudness_of=loudness_of,
        baselines=tuple(baselines),
        on_the_fly=on_the_fly,
        threads=threads,
        expected_seconds=dict(expected_seconds or {}),
    )
    for bindings in plan.rotations.values():
        launch.read_row(plan.rows[0].gin_file, bindings)
    baseline = baseline or plan.rows[0].name
    _check_names(plan, baseline)
    require_libraries()
    run_folder.begin(root, config_text=config_text)
    jobs = plan.jobs()
    print(f"sepcon: {len(jobs)} stages, {workers} at once, into {root}", flush=True)
    run_jobs(
        jobs,
        log_dir=root / "logs",
        workers=workers,
        # What TensorFlow says at its start is no error, and shown jobs are heard.
        environment={"TF_CPP_MIN_LOG_LEVEL": "3"},
        **({"command": launch.command} if launch.command else {}),
    )
    results = study_results(plan, launch)
    selection = _summaries(plan, results, baseline, "validation_mAP")
    summaries = _summaries(plan, results, baseline, "mAP") if final else []
    origin = provenance(plan, results)
    _write(root, results, selection, summaries, origin)
    write_study_report(
        plan,
        title=title,
        origin=origin,
        baseline=baseline,
        selection=selection,
        summaries=summaries,
    )
    shown = comparison.COLUMNS if final else comparison.SELECTION_COLUMNS
    print(comparison.align(comparison.table(summaries or selection, shown)))
    print(f"sepcon: {root / CSV_FILE}, {root / 'report.html'}")
    return results


def _check_names(plan: Plan, baseline: str) -> None:
    names = [row.name for row in plan.rows]
    compared = {"study.baseline": baseline}
    compared |= {f"{row.gin_file}: AGAINST": row.against for row in plan.rows if row.against}
    for what, name in compared.items():
        if name not in names:
            raise SepconError(f"{what} is {name!r}, expected the name of a row: {', '.join(names)}")


def _summaries(
    plan: Plan, results: Sequence[Row], baseline: str, measure: str
) -> list[comparison.Summary]:
    return comparison.summarize(
        results,
        baseline=baseline,
        against={row.name: row.against for row in plan.rows},
        measure=measure,
        untrained=_UNTRAINED,
        supervised=next((row.name for row in plan.rows if row.supervised), ""),
    )


def _write(
    root: Path,
    results: Sequence[Row],
    selection: Sequence[comparison.Summary],
    summaries: Sequence[comparison.Summary],
    origin: str,
) -> None:
    final = bool(summaries)
    texts = {
        SELECTION_FILE: _table(selection, comparison.SELECTION_COLUMNS, origin),
        CSV_FILE: csv_text(results, final=final),
    }
    if final:
        texts[TABLE_FILE] = _table(summaries, comparison.STUDY_COLUMNS, origin)
        texts[RESULTS_FILE] = json.dumps(results, indent=2) + "\n"
    for name, text in texts.items():
        run_folder.write_text(root / name, text)


def _table(summaries: Sequence[comparison.Summary], columns: Sequence[str], origin: str) -> str:
    return f"{comparison.markdown(comparison.table(summaries, columns))}\n{origin}\n"
