"""`sepcon finetune_study`: several ways of finetuning side by side, in one table with intervals."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.errors import SepconError
from sepcon.finetuning.page import MEASURES, ensemble_accuracy, per_seed
from sepcon.metrics.student_t import Estimate
from sepcon.reports import comparison
from sepcon.reports.page import Section, interval_figure, require_libraries, write_report
from sepcon.reports.results import RESULTS_FILE, read_results, write_csv
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.jobs import Job, run_jobs
from sepcon.studies.rows import Launch

CSV_FILE = "study.csv"
TABLE_FILE = "table.md"
REPORT_FILE = "report.html"

Row = dict[str, Any]


@claims_run_dir
def finetune_study(
    *,
    run_dir: str | Path,
    rows: Mapping[str, Sequence[str]],
    launch: Launch,
    baselines: Mapping[str, str] | str = "",
    paths: Sequence[str] = (),
    title: str = "sepcon finetune study",
    workers: int = 2,
    threads: int = 1,
    expected_seconds: float = 600.0,
    config_text: str = "",
) -> list[Row]:
    """Runs `sepcon finetune` for every row, and compares them seed by seed.

    Each row is a command of its own, whose log stands under run_dir/logs; what is finished is not
    done again, so a study goes on wherever it was stopped. What is bound in the study's own gin
    files and on the command line holds for every row; bindings of a row win over the study's files.

    Writes study.csv (a line for each row, seed and fold), results.json, table.md and report.html.

    Args:
      run_dir: receives everything.
      rows: name -> gin files that follow runs/finetune.gin, and bindings, which hold a '='.
      launch: how finetune is started.
      baselines: the row that the others are compared with, or such a row for each; the first row by
        default.
      paths: what rows refer to and must be there; checked before anything is run.
      title: of the report.
      workers: commands that run at once.
      threads: of each command; two commands of one thread do more than one of two.
      expected_seconds: of a command on one core, for the time left before anything is measured.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The rows of results.json.

    Raises:
      SepconError: a baseline is no row; a path is missing; a command failed; or the folder cannot
        be written.
    """
    root = Path(run_dir).expanduser().resolve()
    if not rows:
        raise SepconError("finetune_study.rows must name at least one row")
    against = _baselines(rows, baselines)
    missing = [path for path in paths if not Path(path).expanduser().exists()]
    if missing:
        raise SepconError(f"finetune_study.paths: {missing[0]} is not there; check the path")
    require_libraries()
    run_folder.begin(root, config_text=config_text)
    folders = {name: root / "rows" / _folder_name(name) for name in rows}
    jobs = [
        Job(
            folders[name].name,
            _arguments(entries, folders[name], launch, threads),
            done=functools.partial(run_folder.is_finished, folders[name]),
            expected_seconds=expected_seconds,
        )
        for name, entries in rows.items()
    ]
    run_jobs(
        jobs,
        log_dir=root / "logs",
        workers=workers,
        environment={"TF_CPP_MIN_LOG_LEVEL": "2"},
        **({"command": launch.command} if launch.command else {}),
    )
    runs = {name: read_results(folder / RESULTS_FILE) for name, folder in folders.items()}
    return _conclude(root, title, {n: run["rows"] for n, run in runs.items()}, folders, against)


def _baselines(rows: Mapping[str, Sequence[str]], given: Mapping[str, str] | str) -> dict[str, str]:
    """The baseline of each row."""
    first = next(iter(rows))
    if isinstance(given, str):
        given = dict.fromkeys(rows, given or first)
    for name in (*given.keys(), *given.values()):
        if name not in rows:
            raise SepconError(
                f"finetune_study.baselines names {name!r}, expected some of {', '.join(rows)}"
            )
    return {name: given.get(name, first) for name in rows}


def _folder_name(name: str) -> str:
    """A row's name as a folder's: what a file system may not like becomes an underscore."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _arguments(
    entries: Sequence[str], folder: Path, launch: Launch, threads: int
) -> tuple[str, ...]:
    """The command of a row: its files before the study's, its bindings before the user's."""
    return (
        "finetune",
        "--gin_file=runs/finetune.gin",
        *[f"--gin_file={entry}" for entry in entries if "=" not in entry],
        *[f"--gin_bindings={entry}" for entry in entries if "=" in entry],
        *launch.words,
        f"--run_dir={folder}",
        f"--num_threads={threads}",
    )


def summarize(
    runs: Mapping[str, Sequence[Row]], against: Mapping[str, str]
) -> list[comparison.Summary]:
    """Returns one summary for each row, in their order.

    Args:
      runs: by name, the rows of the trainings, see `sepcon.finetuning.fold`.
      against: the baseline of each; a row that is its own is compared with none.
    """
    return comparison.summarize(
        [each for name, rows in runs.items() for each in _seeds(name, rows)],
        baseline="",
        against={name: "" if other == name else other for name, other in against.items()},
        measure="accuracy",
    )


def _seeds(name: str, rows: Sequence[Row]) -> list[Row]:
    """A row for each seed: means over the folds, and all their seconds."""
    measures = {measure: per_seed(rows, measure) for measure in MEASURES}
    found = []
    for seed in measures["accuracy"]:
        folds = [row for row in rows if row["seed"] == seed]
        found.append(
            {
                "name": name,
                "seed": seed,
                **{measure: by_seed[seed] for measure, by_seed in measures.items()},
                "fold_deviation": float(np.std([row["accuracy"] for row in folds])),
                "seconds": sum(row["seconds"] for row in folds),
            }
        )
    return found


def _conclude(
    root: Path,
    title: str,
    runs: Mapping[str, Sequence[Row]],
    folders: Mapping[str, Path],
    against: Mapping[str, str],
) -> list[Row]:
    summaries = summarize(runs, against)
    results = [{"row": name, **row} for name, rows in runs.items() for row in rows]
    table = comparison.table(summaries, comparison.FINETUNE_COLUMNS)
    together = ensemble_accuracy([(folders[name], rows) for name, rows in runs.items()])
    note = f"Ensemble of all models of all rows (mean of probabilities): accuracy {together:.3f}."
    write_csv(root / CSV_FILE, results)
    run_folder.write_text(root / TABLE_FILE, comparison.markdown(table) + f"\n{note}\n")
    run_folder.write_text(root / RESULTS_FILE, json.dumps(results, indent=1) + "\n")
    _write_report(root, title, summaries, table, note)
    run_folder.finish(root, {"rows": len(runs), "ensemble_accuracy": together})
    print(comparison.align(table))
    print(f"{note}\nsepcon: {root / CSV_FILE}, {root / REPORT_FILE}")
    return results


def _write_report(
    root: Path,
    title: str,
    summaries: Sequence[comparison.Summary],
    table: list[list[str]],
    note: str,
) -> None:
    figure = interval_figure(
        "Accuracy, mean over folds. Bars: 95 % interval over seeds.",
        [(each.name, each.value.mean, *_drawable(each.value)) for each in summaries],
        x_label="accuracy",
    )
    section = Section(
        "What the rows are worth",
        [
            "Cross-validation: the accuracy of a seed is the mean over the test folds. The epoch "
            "is chosen by clips held out of the training folds; the optimistic accuracy has it "
            "chosen by the test fold itself, as the code published with SoundCLR does. Intervals "
            "are Student's t over seeds, p is of the paired t-test over seeds, two-sided, not "
            "corrected for the number of rows. rows/ has the page of each row with its confusion "
            "matrix.",
            note,
        ],
        table=table,
        figures=[figure],
    )
    write_report(
        root / REPORT_FILE,
        title=title,
        subtitle="Everything on this page comes from this run; study.csv has a line for each "
        "training, logs/ each command.",
        sections=[section],
    )


def _drawable(accuracy: Estimate) -> tuple[float, float]:
    """The interval; of one seed, where it is infinite, a point."""
    if np.isfinite(accuracy.high):
        return accuracy.low, accuracy.high
    return accuracy.mean, accuracy.mean
