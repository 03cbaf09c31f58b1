"""The page that the quickstart ends with: the table, the curves, and separated sounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcon import comparison
from sepcon.report import Section, interval_figure, line_figure, write_report
from sepcon.study_report import listening_section, separation_section
from sepcon.training.logs import read_metric


def write_quickstart_report(
    root: Path,
    *,
    source: str,
    rows: Sequence[Mapping[str, Any]],
    summaries: Sequence[comparison.Summary],
) -> None:
    """Writes root/report.html.

    Args:
      root: the quickstart's run folder.
      source: what the scenes were made of.
      rows: all rows of the benchmark.
      summaries: the same, one for each name.
    """
    sections = [
        _benchmark_section(rows, summaries),
        separation_section(root / "separator"),
        listening_section(root / "separator" / "examples"),
        _pretraining_section(root / "pretrain"),
    ]
    write_report(
        root / "report.html",
        title="sepcon quickstart",
        subtitle=f"Scenes from {source}. Everything on this page comes from this run.",
        sections=sections,
    )


def _benchmark_section(
    rows: Sequence[Mapping[str, Any]], summaries: Sequence[comparison.Summary]
) -> Section:
    figure = interval_figure(
        "Macro mAP on scenes from held-out recordings; bars: 95 % interval over seeds.",
        [(each.name, each.mean_average_precision, each.low, each.high) for each in summaries],
        x_label="mAP",
    )
    every = "\n".join(
        f"{row['name']}, seed {row['seed']}: mAP {row['mAP']:.3f} "
        f"({row['mAP_low']:.3f} to {row['mAP_high']:.3f} over clips), "
        f"d-prime {row['d_prime']:.2f}, linear probe mAP {row['linear_mAP']:.3f}"
        for row in rows
    )
    return Section(
        "What the embeddings are worth",
        [
            "A classifier with one hidden layer on frozen embeddings, tested once on scenes whose "
            "recordings occur nowhere else. Differences are to mixture-mixture, seed by seed.",
            "Read with care: a few hundred steps on a few thousand scenes tell that the pipeline "
            "works, not which method is best. Channels of an untrained separator and a random "
            "equalizer are controls: what they gain too is not owed to separation.",
        ],
        table=comparison.table(summaries),
        figures=[figure],
        code=every,
    )


def _pretraining_section(pretrain: Path) -> Section:
    curves = {
        f"{folder.parent.name}, {folder.name}": read_metric(folder, "similarity_loss")
        for folder in sorted(pretrain.glob("*/seed*"))
    }
    return Section(
        "Pretraining",
        ["The loss does not rank the runs: harder views have a higher one."],
        figures=[line_figure("NT-Xent by step.", curves, x_label="step", y_label="NT-Xent")],
    )
