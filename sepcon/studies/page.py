"""The page that a study ends with: tables, figures, curves, and separated sounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from sepcon.reports import comparison
from sepcon.reports.page import (
    Clip,
    Figure,
    Section,
    audio_clip,
    interval_figure,
    line_figure,
    write_report,
)
from sepcon.studies.map import map_section
from sepcon.studies.plan import Plan
from sepcon.studies.rows import StudyRow, World
from sepcon.training.logs import read_metric

_MEASURES = {
    "step": "step",
    "num_scenes": "scenes",
    "mixit_negative_snr_db": "MixIT, dB",
    "si_snri_channel_db_2": "2 sources, channels, dB",
    "si_snri_group_db_2": "2 sources, groups, dB",
    "si_snri_group_db_3": "3 sources, groups, dB",
    "si_snri_group_db_4": "4 sources, groups, dB",
    "si_snr_channel_db_1": "1 source, SI-SNR, dB",
}


def write_study_report(
    plan: Plan,
    *,
    title: str,
    origin: str,
    baseline: str,
    selection: Sequence[comparison.Summary],
    summaries: Sequence[comparison.Summary],
) -> None:
    """Writes report.html into the run folder of a finished study.

    Args:
      plan: what was run.
      title: of the page.
      origin: what means are over and what made them, see `sepcon.studies.results.provenance`.
      baseline: the row the others are compared with.
      selection: summaries of validation mAP, one for each name.
      summaries: summaries of the test, one for each name; empty while settings are being chosen.
    """
    sections = []
    if summaries:
        sections.append(_final_section(plan, baseline, summaries))
        sections.append(_further_section(summaries))
        sections += [
            each for each in [map_section(plan, baseline=baseline, selection=selection)] if each
        ]
    sections.append(_selection_section(baseline, selection))
    for world, separator in plan.separator_dirs.items():
        if (separator / "separation.json").is_file():
            sections.append(_separation_section(separator, world))
    for separator in list(plan.separator_dirs.values())[:1]:
        sections.append(_listening_section(separator / "examples"))
    sections.append(_pretraining_section(plan))
    write_report(
        plan.root / "report.html",
        title=title,
        subtitle=f"Everything on this page comes from this run; logs/ has each command. {origin}",
        sections=sections,
    )


def _final_section(plan: Plan, baseline: str, summaries: Sequence[comparison.Summary]) -> Section:
    figures = [_intervals("All rows: macro mAP on the test scenes.", summaries)]
    captions: dict[tuple[str, ...], list[str]] = {}  # of the same rows, one figure
    for name in dict.fromkeys(name for row in plan.rows for name in row.figures):
        members = tuple(row.name for row in plan.rows if name in row.figures)
        captions.setdefault(members, []).append(name)
    for members, names in captions.items():
        drawn = [summary for summary in summaries if summary.name in members]
        if 1 < len(drawn) < len(summaries):
            caption = f"By {', '.join(names)}: macro mAP on the test scenes."
            figures.append(_intervals(caption, drawn))
    return Section(
        "What the embeddings are worth",
        [
            "A classifier with one hidden layer on frozen embeddings, tested once on scenes whose "
            f"recordings occur nowhere else. Differences are to {baseline}, or to "
            "what the table says, paired.",
            "What a control gains too (random equalization, random masks, an untrained separator) "
            "is not owed to separation.",
        ],
        table=comparison.table(summaries, comparison.FINAL_COLUMNS),
        figures=figures,
    )


def _further_section(summaries: Sequence[comparison.Summary]) -> Section:
    return Section(
        "Further measures",
        [
            "Of the way from the untrained encoder to supervised training on the same scenes, how "
            "much is behind; a linear classifier on scenes; scenes ranked by their distance to an "
            "example, which a random order brings to about a third; and, where there are clean "
            "clips, how often a linear probe names the class of a recording that it hears alone.",
        ],
        table=comparison.table(summaries, ("row", "seeds", *comparison.FURTHER_COLUMNS)),
    )


def _intervals(caption: str, summaries: Sequence[comparison.Summary]) -> Figure:
    return interval_figure(
        f"{caption} Bars: 95 % interval over seeds.",
        [(each.name, each.value.mean, each.value.low, each.value.high) for each in summaries],
        x_label="mAP",
    )


def _selection_section(baseline: str, selection: Sequence[comparison.Summary]) -> Section:
    return Section(
        "Selection",
        [
            "Macro mAP on the validation scenes: all that settings may be chosen by. Differences "
            f"are to {baseline}, seed by seed.",
        ],
        table=comparison.table(selection, comparison.SELECTION_COLUMNS),
    )


def _separation_section(separator: Path, world: World) -> Section:
    """What the separator of a run folder was measured to do, step by step."""
    of_seed = "" if world.separator is None else f"separator of seed {world.separator}"
    where = ", ".join(part for part in (world.rotation, of_seed) if part)
    measures = json.loads((separator / "separation.json").read_text())
    # A handful of scenes may hold none with so many sources.
    columns = {key: head for key, head in _MEASURES.items() if key in measures[0]}
    table = [
        [*columns.values()],
        *[[_cell(row[key]) for key in columns] for row in measures],
    ]
    return Section(
        f"Separation by training step{f' ({where})' if where else ''}",
        [
            "Trained by mixture invariant training without any label or source, measured on scenes "
            "from held-out recordings whose sources are known. Improvement of SI-SNR over the "
            "mixture by number of sources: each source against a channel of its own, or against "
            "the best group of channels.",
        ],
        table=table,
        figures=[
            line_figure(
                "Negative SNR of the best assignment of channels to the two mixtures.",
                {"training": read_metric(separator, "negative_snr_db")},
                x_label="step",
                y_label="dB",
            )
        ],
    )


def _cell(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"


def _listening_section(examples: Path) -> Section:
    """The mixtures and channels that a separator's run keeps as examples."""
    clips: list[Clip] = []
    for folder in sorted(examples.glob("*")):
        tracks = [*sorted(folder.glob("source_*.flac")), *sorted(folder.glob("channel_*.flac"))]
        for file in [folder / "mixture.flac", *tracks]:
            waveform, rate = soundfile.read(file, dtype="float32")
            clips.append(audio_clip(f"{folder.name}: {file.stem}", waveform, rate))
    return Section(
        "Listen",
        [
            "Scenes of two sources from held-out recordings, the true sources, and the channels "
            "that the separator makes of them.",
        ],
        clips=clips,
    )


def _pretraining_section(plan: Plan) -> Section:
    names = {
        "similarity_loss": "NT-Xent",
        "coincidence_loss": "coincidence loss",
        "precision_at_one": "precision at one of supervised training",
    }
    figures = []
    for metric, label in names.items():
        curves = {row.name: _mean_curve(plan, row, metric) for row in plan.rows}
        curves = {name: curve for name, curve in curves.items() if curve[0]}
        if curves:
            caption = f"{label} by step, mean over runs."
            figures.append(line_figure(caption, curves, x_label="step", y_label=label))
    return Section(
        "Pretraining",
        ["The loss does not rank the runs: harder views have a higher one."],
        figures=figures,
    )


def _mean_curve(plan: Plan, row: StudyRow, metric: str) -> tuple[list[int], list[float]]:
    """Steps and values of a metric, averaged over the runs where all of them logged it."""
    points: dict[int, list[float]] = {}
    runs = [run for run in plan.runs() if run.row == row]
    for run in runs:
        for step, value in zip(*read_metric(plan.pretrain_dir(run), metric), strict=True):
            points.setdefault(step, []).append(value)
    steps = sorted(step for step, values in points.items() if len(values) == len(runs))
    return steps, [float(np.mean(points[step])) for step in steps]
