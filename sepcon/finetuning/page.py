"""What the folds and seeds of one recipe say together: table, confusion matrix, page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.finetuning.predictions import Predictions, ensemble
from sepcon.finetuning.selection import SELECTED_FILE
from sepcon.metrics.student_t import estimate
from sepcon.reports.comparison import interval_text
from sepcon.reports.page import Section, line_figure, matrix_figure, write_report
from sepcon.reports.results import RESULTS_FILE, Row
from sepcon.runs.names import path_inside
from sepcon.training.logs import read_metric

REPORT_FILE = "report.html"
_MAX_CURVES = 5
# Key in a row -> what the tables call it.
MEASURES = {
    "accuracy": "accuracy, epoch chosen on validation",
    "optimistic_accuracy": "optimistic: epoch chosen on the test fold",
    "last_accuracy": "last epoch",
}


def folder_of(root: Path, row: Row) -> Path:
    """The folder of a training, which the row of it names.

    Raises:
      SepconError: it names one outside of the run.
    """
    return path_inside(root, row["folder"], source=root / RESULTS_FILE)


def per_seed(rows: Sequence[Row], measure: str) -> dict[int, float]:
    """The mean over the folds of each seed."""
    values: dict[int, list[float]] = {}
    for row in rows:
        values.setdefault(row["seed"], []).append(row[measure])
    return {seed: float(np.mean(each)) for seed, each in values.items()}


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Of every measure the mean over folds and seeds, and how it varies with both.

    Returns:
      For each of `MEASURES` '<measure>', '<measure>_fold_deviation' (between folds, of the means
      over seeds), '<measure>_seed_deviation' (between seeds, of the means over folds) and, with two
      seeds or more, '<measure>_low' and '<measure>_high', the 95 % interval over seeds (Student's
      t); 'num_seeds' and 'num_folds'.
    """
    found: dict[str, Any] = {
        "num_seeds": len({row["seed"] for row in rows}),
        "num_folds": len({row["fold"] for row in rows}),
    }
    for measure in MEASURES:
        seeds = np.array(list(per_seed(rows, measure).values()))
        folds: dict[str, list[float]] = {}
        for row in rows:
            folds.setdefault(row["fold"], []).append(row[measure])
        found[measure] = float(seeds.mean())
        found[f"{measure}_fold_deviation"] = float(np.std([np.mean(f) for f in folds.values()]))
        found[f"{measure}_seed_deviation"] = float(np.std(seeds))
        if len(seeds) > 1:
            over_seeds = estimate([seeds.tolist()])
            found[f"{measure}_low"], found[f"{measure}_high"] = over_seeds.low, over_seeds.high
    return found


def seed_ensemble(root: Path, rows: Sequence[Row]) -> dict[str, float]:
    """The accuracy of the mean of all seeds' probabilities, mean over folds; of several seeds."""
    if len({row["seed"] for row in rows}) < 2:
        return {}
    return {"ensemble_accuracy": ensemble_accuracy([(root, rows)])}


def ensemble_accuracy(runs: Sequence[tuple[Path, Sequence[Row]]]) -> float:
    """The accuracy of the mean of the probabilities of all models of a fold, mean over folds.

    Args:
      runs: run folders of `sepcon finetune` with their rows; all on the same clips and folds.
    """
    members: dict[str, list[Predictions]] = {}
    for root, rows in runs:
        for row in rows:
            predictions = Predictions.load(folder_of(root, row) / SELECTED_FILE)
            members.setdefault(row["fold"], []).append(predictions)
    return float(np.mean([ensemble(each).accuracy for each in members.values()]))


def fold_table(rows: Sequence[Row], found: Mapping[str, Any]) -> list[list[str]]:
    """A line for each fold, mean over seeds, and one for all; the head first."""
    table = [["fold", *MEASURES.values(), "clips: train, validation, test"]]
    for fold in dict.fromkeys(row["fold"] for row in rows):
        members = [row for row in rows if row["fold"] == fold]
        sizes = [members[0][f"num_{role}_clips"] for role in ("train", "validation", "test")]
        means = [f"{np.mean([row[measure] for row in members]):.3f}" for measure in MEASURES]
        table.append([fold, *means, ", ".join(map(str, sizes))])
    for name, suffix in (
        ("mean", ""),
        ("deviation between folds", "_fold_deviation"),
        ("deviation between seeds", "_seed_deviation"),
    ):
        table.append([name, *(f"{found[each + suffix]:.3f}" for each in MEASURES), ""])
    if "accuracy_low" in found:
        intervals = [
            interval_text(found[f"{each}_low"], found[f"{each}_high"]) for each in MEASURES
        ]
        table.append(["95 % interval over seeds", *intervals, ""])
    if "ensemble_accuracy" in found:
        table.append(["ensemble of all seeds", f"{found['ensemble_accuracy']:.3f}", "", "", ""])
    return table


def write_finetune_report(root: Path, results: Mapping[str, Any], *, config_text: str) -> None:
    """Writes report.html into the folder of a finished run.

    Args:
      root: the folder.
      results: content of results.json.
      config_text: the resolved configuration, shown at the end of the page.

    Raises:
      SepconError: the libraries of the extra `report` are missing, or the page cannot be written.
    """
    rows, names = results["rows"], results["class_names"]
    write_report(
        root / REPORT_FILE,
        title=f"Classification of {results['clips']}",
        subtitle="Everything on this page comes from this run; folds.csv has a line for each "
        "training.",
        sections=[
            Section(
                "Accuracy",
                [
                    "Every fold in turn is the test. Quote the first column: its epoch was chosen "
                    "by clips held out of the training folds, whole original recordings together. "
                    "The second chooses the epoch by the test fold itself, as the code published "
                    "with SoundCLR does; it is optimistic, and here to compare with.",
                ],
                table=fold_table(rows, results["summary"]),
                figures=[
                    matrix_figure(
                        "Confusion matrix: share of the clips of each class (row) by the class "
                        "they are taken for, all test folds and seeds, epoch chosen on validation.",
                        _confusion(root, rows),
                        names,
                    )
                ],
            ),
            _training_section(root, rows),
            Section("Configuration", code=config_text),
        ],
    )


def _confusion(root: Path, rows: Sequence[Row]) -> np.ndarray:
    counts = sum(Predictions.load(folder_of(root, row) / SELECTED_FILE).confusion() for row in rows)
    return counts / np.maximum(np.sum(counts, axis=1, keepdims=True), 1)


def _training_section(root: Path, rows: Sequence[Row]) -> Section:
    names = {
        "loss": "training loss",
        "validation/accuracy": "validation accuracy",
        "validation/test_accuracy": "test accuracy",
    }
    figures = [
        line_figure(
            f"{label} by step.",
            {
                f"fold {row['fold']}, seed {row['seed']}": read_metric(folder_of(root, row), name)
                for row in rows[:_MAX_CURVES]
            },
            x_label="step",
            y_label=label,
        )
        for name, label in names.items()
    ]
    return Section("Training", [f"The first {_MAX_CURVES} trainings."], figures=figures)
