"""`sepcon study`: rows times seeds, from the scenes to a table with intervals and p-values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcon import comparison, run_folder
from sepcon.benchmark import RESULTS_FILE
from sepcon.benchmark_embeddings import LOG_MEL_STATISTICS, UNTRAINED_ENCODER
from sepcon.errors import SepconError
from sepcon.jobs import run_jobs
from sepcon.report import require_libraries
from sepcon.study_plan import Launch, Plan
from sepcon.study_report import write_study_report

CSV_FILE = "study.csv"
TABLE_FILE = "table.md"
SELECTION_FILE = "selection.md"

_CSV_COLUMNS = (
    "row",
    "seed",
    "mAP",
    "mAP_low",
    "mAP_high",
    "d_prime",
    "validation_mAP",
    "linear_mAP",
    "seconds",
    "commit",
    "gin_files",
)
_TEST_COLUMNS = ("mAP", "mAP_low", "mAP_high", "d_prime", "linear_mAP")

Row = dict[str, Any]


def study(
    *,
    run_dir: str | Path,
    rows: Sequence[str],
    launch: Launch,
    seeds: Sequence[int] = (0,),
    baseline: str = "",
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
      states: convergence states of the separator by the names that rows use: step, or None for
        the last.
      loudness_of: the state whose channels' energies random masks take over.
      baselines: see `sepcon.benchmark_embeddings`; () for none.
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
        rows=tuple(launch.read_row(file) for file in rows),
        seeds=tuple(seeds),
        states=dict(states or {}),
        loudness_of=loudness_of,
        baselines=tuple(baselines),
        on_the_fly=on_the_fly,
        threads=threads,
        expected_seconds=dict(expected_seconds or {}),
    )
    baseline = baseline or plan.rows[0].name
    if baseline not in [row.name for row in plan.rows]:
        raise SepconError(
            f"study.baseline is {baseline!r}, expected the name of a row: "
            f"{', '.join(row.name for row in plan.rows)}"
        )
    require_libraries()
    run_folder.begin(root, config_text=config_text)
    jobs = plan.jobs()
    print(f"sepcon: {len(jobs)} stages, {workers} at once, into {root}", flush=True)
    run_jobs(
        jobs,
        log_dir=root / "logs",
        workers=workers,
        environment={"TF_CPP_MIN_LOG_LEVEL": "2"},
        **({"command": launch.command} if launch.command else {}),
    )
    results = _results(plan, launch.gin_files)
    selection = comparison.summarize(results, baseline=baseline, measure="validation_mAP")
    summaries = comparison.summarize(results, baseline=baseline) if final else []
    _write(root, results, selection, summaries)
    write_study_report(
        plan, title=title, baseline=baseline, selection=selection, summaries=summaries
    )
    shown = comparison.COLUMNS if final else comparison.SELECTION_COLUMNS
    print(comparison.align(comparison.table(summaries or selection, shown)))
    print(f"sepcon: {root / CSV_FILE}, {root / 'report.html'}")
    return results


def _results(plan: Plan, gin_files: Sequence[str]) -> list[Row]:
    """The rows of all benchmarks, baselines first; `seconds` counts the pretraining too."""
    results: list[Row] = []
    if plan.baselines:
        commit = run_folder.read_record(plan.baselines_dir).get("commit", "")
        files = ["runs/benchmark.gin", *gin_files]
        results = [
            {**result, "commit": commit, "gin_files": files} for result in _read(plan.baselines_dir)
        ]
    for row in plan.rows:
        for seed in plan.seeds:
            trained = run_folder.read_record(plan.pretrain_dir(row, seed))
            (result,) = _read(plan.benchmark_dir(row, seed))
            results.append(
                {
                    **result,
                    "seconds": round(float(trained["seconds"]) + float(result["seconds"]), 1),
                    "commit": trained.get("commit", ""),
                    "gin_files": ["runs/pretrain.gin", row.gin_file, *gin_files],
                }
            )
    return results


def _read(folder: Path) -> list[Row]:
    return json.loads((folder / RESULTS_FILE).read_text())


def _write(
    root: Path,
    results: Sequence[Row],
    selection: Sequence[comparison.Summary],
    summaries: Sequence[comparison.Summary],
) -> None:
    final = bool(summaries)
    tables = {
        SELECTION_FILE: comparison.markdown(
            comparison.table(selection, comparison.SELECTION_COLUMNS)
        ),
        CSV_FILE: _csv(results, final),
    }
    if final:
        tables[TABLE_FILE] = comparison.markdown(
            comparison.table(summaries, comparison.STUDY_COLUMNS)
        )
        tables[RESULTS_FILE] = json.dumps(results, indent=2) + "\n"
    for name, text in tables.items():
        run_folder.write_text(root / name, text)


def _csv(results: Sequence[Row], final: bool) -> str:
    columns = [name for name in _CSV_COLUMNS if final or name not in _TEST_COLUMNS]
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for result in results:
        files = " ".join(result["gin_files"])
        writer.writerow({**result, "row": result["name"], "gin_files": files})
    return table.getvalue()
