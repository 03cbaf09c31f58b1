"""What the page of a study of pretraining shows beside its tables: curves and sounds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from sepcon.reports.page import Clip, Section, audio_clip, line_figure
from sepcon.runs.json_file import told_if_damaged
from sepcon.studies.pretraining_commands import PretrainingCommands, World
from sepcon.studies.rows import StudyRow
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


def separation_section(separator: Path, world: World) -> Section:
    """Makes the section with the measures of a separator at each of its states.

    Args:
      separator: its run folder.
      world: the rotation, and the seed of the separator where there are several.
    """
    of_seed = "" if world.separator is None else f"separator of seed {world.separator}"
    where = ", ".join(part for part in (world.rotation, of_seed) if part)
    path = separator / "separation.json"
    with told_if_damaged(path, cure="remove the folder, then the same command makes it again"):
        measures = json.loads(path.read_text(encoding="utf-8"))
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


def listening_section(examples: Path) -> Section:
    """Returns the mixtures and channels that a separator's run keeps as examples."""
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


def pretraining_section(commands: PretrainingCommands) -> Section:
    """Returns the losses of the rows by step."""
    names = {
        "similarity_loss": "NT-Xent",
        "coincidence_loss": "coincidence loss",
        "precision_at_one": "precision at one of supervised training",
    }
    figures = []
    for metric, label in names.items():
        curves = {row.name: _mean_curve(commands, row, metric) for row in commands.study.rows}
        curves = {name: curve for name, curve in curves.items() if curve[0]}
        if curves:
            caption = f"{label} by step, mean over runs."
            figures.append(line_figure(caption, curves, x_label="step", y_label=label))
    return Section(
        "Pretraining",
        ["Do not compare rows by their losses: views that are harder have a higher loss."],
        figures=figures,
    )


def _mean_curve(
    commands: PretrainingCommands, row: StudyRow, metric: str
) -> tuple[list[int], list[float]]:
    """Steps and values of a metric, averaged over the runs where all of them logged it."""
    points: dict[int, list[float]] = {}
    runs = [run for run in commands.runs() if run.row == row]
    for run in runs:
        for step, value in zip(*read_metric(commands.pretrain_dir(run), metric), strict=True):
            points.setdefault(step, []).append(value)
    steps = sorted(step for step, values in points.items() if len(values) == len(runs))
    return steps, [float(np.mean(points[step])) for step in steps]
