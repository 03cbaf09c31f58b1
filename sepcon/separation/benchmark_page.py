"""The table and the page of a separation benchmark: figures by checkpoint, curves, and players."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from sepcon.metrics.separation import active_channels, si_snr_improvement
from sepcon.reports.page import (
    Clip,
    Figure,
    Section,
    interval_curves_figure,
    linked_clip,
    write_report,
)
from sepcon.reports.results import Row
from sepcon.separation.examples import ExampleScene

Cells = list[list[str]]

_CHANNELS, _GROUPS = "si_snri_channel_db", "si_snri_group_db"
_NAMES = ("separator", "step", "scenes")
_SHARES = {
    "under-separated": "under_separated",
    "equally separated": "equally_separated",
    "over-separated": "over_separated",
}


@dataclasses.dataclass(frozen=True)
class Example:
    """A separated scene.

    Attributes:
      scene: what was separated.
      channels: title of the separator -> [channel, samples] float32.
      prefixes: title of the separator -> beginning of the names of its files.
      files: name without ending -> the file, as of `write_example`.
      sample_rate_hz: of all of it.
    """

    scene: ExampleScene
    channels: Mapping[str, np.ndarray]
    prefixes: Mapping[str, str]
    files: Mapping[str, Path]
    sample_rate_hz: int


def table(rows: Sequence[Row]) -> Cells:
    """Returns a table for the terminal, with two lines for each row: best channels, best groups."""
    counts = _counts(rows)
    head = [*_NAMES, "SI-SNRi, dB", *[f"{k} sources" for k in counts], "all (MSi)"]
    cells = [[*head, "1 source (1S)", "under/equal/over, %"]]
    for row in rows:
        for label, name in (("channels", _CHANNELS), ("groups", _GROUPS)):
            figures = [_cell(row, key) for key in _by_count(name, counts)]
            last = [_cell(row, "si_snr_channel_db_1"), _shares(row, "")]
            cells.append(
                [*_names(row), label, *figures, *(last if name == _CHANNELS else ["", ""])]
            )
    return cells


def write_page(
    path: Path, *, scenes: str, rows: Sequence[Row], examples: Sequence[Example]
) -> None:
    """Writes the page.

    Args:
      path: the page; the files of the examples lie in its folder or below.
      scenes: what was measured on.
      rows: of results.json.
      examples: scenes to listen to.
    """
    sections = [
        _improvement_section(
            rows,
            _CHANNELS,
            "Improvement by the best single channels",
            "SI-SNR improvement over the mixture in dB, by number of active sources: each source "
            "against a channel of its own under the best permutation. MSi: over all sources of "
            "scenes with at least two. 1S: SI-SNR of the best channel where there is one source, "
            "for which the mixture itself is perfect.",
            ["si_snr_channel_db_1"],
        ),
        _improvement_section(
            rows,
            _GROUPS,
            "Improvement by the best grouping of channels",
            "The same with each source against the sum of a group of channels, under the best way "
            "to distribute all channels: this forgives a source that is spread over channels.",
        ),
        _count_section(rows),
        *(_example_section(example, path.parent) for example in examples),
    ]
    write_report(
        path,
        title="Separation by training step",
        subtitle=f"{rows[0]['num_scenes']} scenes of {scenes}, but for silent ones and those with "
        "more sources than the separator has channels. In brackets and as bands: 95 % bootstrap "
        "intervals over scenes.",
        sections=sections,
    )


def _improvement_section(
    rows: Sequence[Row], name: str, heading: str, text: str, further: Sequence[str] = ()
) -> Section:
    improvements = _by_count(name, _counts(rows))
    keys = [*improvements, *further]
    head = [*_NAMES, *(_heading(key) for key in keys)]
    return Section(
        heading,
        [text],
        table=[head, *[[*_names(row), *(_cell(row, key) for key in keys)] for row in rows]],
        figures=[
            _curves(checkpoints, {_heading(key): key for key in improvements}, "SI-SNRi, dB")
            for checkpoints in _by_separator(rows)
        ],
    )


def _count_section(rows: Sequence[Row]) -> Section:
    suffixes = [suffix for suffix in ("_1", *_by_count("", _counts(rows))) if suffix]
    head = [*_NAMES, *(_heading(suffix) for suffix in suffixes), "all"]
    cells = [[*_names(row), *(_shares(row, suffix) for suffix in (*suffixes, ""))] for row in rows]
    return Section(
        "Too few and too many channels",
        [
            "Scenes, in per cent, that are under-separated / equally separated / over-separated: "
            "with fewer, as many and more active channels than sources. Active is a channel whose "
            "mean power is above that of the quietest active source less 20 dB.",
        ],
        table=[head, *cells],
        figures=[
            _curves(checkpoints, _SHARES, "share of scenes") for checkpoints in _by_separator(rows)
        ],
    )


def _example_section(example: Example, page_folder: Path) -> Section:
    """Mixture, sources and channels of a scene, each channel with the source it is best for."""
    scene = example.scene
    tracks = {"mixture": ("mixture", scene.mixture)}
    tracks |= {f"source_{k}": (f"source {k}", source) for k, source in enumerate(scene.sources)}
    for title, channels in example.channels.items():
        prefix = f"{title}: " if len(example.channels) > 1 else ""
        labels = _channel_labels(scene, channels)
        tracks |= {
            f"{example.prefixes[title]}_{number}": (prefix + label, channel)
            for number, (label, channel) in enumerate(zip(labels, channels, strict=True))
        }
    clips: list[Clip] = [
        linked_clip(
            label,
            quote(example.files[name].relative_to(page_folder).as_posix()),
            waveform,
            example.sample_rate_hz,
        )
        for name, (label, waveform) in tracks.items()
    ]
    text = (
        f"Channels of {', '.join(example.channels) or 'no separator'}. Beside a channel: the "
        "source it is compared with under the best permutation, and the improvement of SI-SNR."
    )
    return Section(f"Listen: {scene.title}", [text], clips=clips)


def _channel_labels(scene: ExampleScene, channels: np.ndarray) -> list[str]:
    scores = si_snr_improvement(reference=scene.sources, estimate=channels, mixture=scene.mixture)
    active = active_channels(reference=scene.sources, estimate=channels)
    labels = []
    for number, place in enumerate(scores.channel_to_reference):
        label = f"channel {number}"
        if place >= 0:
            gain = scores.improvement_db[list(scores.active).index(place)]
            label += f": source {place}, {gain:+.1f} dB"
        labels.append(label if active[number] else f"{label}, inactive")
    return labels


def _curves(checkpoints: Sequence[Row], keys: Mapping[str, str], y_label: str) -> Figure:
    series = {
        label: [
            (row["step"], row[key], row[f"{key}_low"], row[f"{key}_high"])
            for row in checkpoints
            if key in row
        ]
        for label, key in keys.items()
    }
    return interval_curves_figure(
        f"{checkpoints[0]['name']}, by training step.",
        {label: points for label, points in series.items() if points},
        x_label="training step",
        y_label=y_label,
    )


def _by_separator(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The checkpoints of each separator that has several."""
    for name in dict.fromkeys(row["name"] for row in rows if row["step"] is not None):
        checkpoints = [row for row in rows if row["name"] == name and row["step"] is not None]
        if len(checkpoints) > 1:
            yield sorted(checkpoints, key=lambda row: row["step"])


def _counts(rows: Sequence[Row]) -> list[int]:
    """The numbers of sources, from two on, that there were scenes of."""
    found = {key.removeprefix("num_scenes_") for row in rows for key in row}
    return sorted(int(count) for count in found if count.isdigit() and count != "1")


def _by_count(name: str, counts: Sequence[int]) -> list[str]:
    return [*(f"{name}_{k}" for k in counts), name]


def _heading(key: str) -> str:
    count = key.rpartition("_")[2]
    if not count.isdigit():
        return "MSi"
    return "1S" if key.startswith("si_snr_") else f"{count} source{'s' if count != '1' else ''}"


def _names(row: Row) -> list[str]:
    measured = row["num_scenes"] - row["num_scenes_skipped"]
    left_out = f" of {row['num_scenes']}" if row["num_scenes_skipped"] else ""
    step = "" if row["step"] is None else str(row["step"])
    return [row["name"], step, f"{measured}{left_out}"]


def _cell(row: Row, key: str) -> str:
    if key not in row:
        return ""
    value, low, high = (row[key + end] for end in ("", "_low", "_high"))
    return f"{value:z.1f} ({low:z.1f} to {high:z.1f})"


def _shares(row: Row, suffix: str) -> str:
    if f"under_separated{suffix}" not in row:
        return ""
    return " / ".join(f"{100 * row[name + suffix]:.0f}" for name in _SHARES.values())
