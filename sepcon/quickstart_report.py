"""The page that the quickstart ends with: the table, the curves, and separated sounds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile

from sepcon import comparison
from sepcon.report import (
    Clip,
    Section,
    audio_clip,
    interval_figure,
    line_figure,
    write_report,
)

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
        _separation_section(root / "separator"),
        _listening_section(root / "separator" / "examples"),
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


def _separation_section(separator: Path) -> Section:
    measures = json.loads((separator / "separation.json").read_text())
    loss = _curve(separator, "negative_snr_db")
    # A handful of scenes may hold none with so many sources.
    columns = {key: head for key, head in _MEASURES.items() if key in measures[0]}
    table = [
        [*columns.values()],
        *[[_cell(row[key]) for key in columns] for row in measures],
    ]
    return Section(
        "Separation by training step",
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
                {"training": loss},
                x_label="step",
                y_label="dB",
            )
        ],
    )


def _cell(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"


def _listening_section(examples: Path) -> Section:
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


def _pretraining_section(pretrain: Path) -> Section:
    curves = {
        f"{folder.parent.name}, {folder.name}": _curve(folder, "similarity_loss")
        for folder in sorted(pretrain.glob("*/seed*"))
    }
    return Section(
        "Pretraining",
        ["The loss does not rank the runs: harder views have a higher one."],
        figures=[line_figure("NT-Xent by step.", curves, x_label="step", y_label="NT-Xent")],
    )


def _curve(run: Path, name: str) -> tuple[list[float], list[float]]:
    """Steps and values of one metric in a run's metrics.jsonl."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    points = [(line["step"], line[name]) for line in lines if name in line]
    return [step for step, _ in points], [value for _, value in points]
