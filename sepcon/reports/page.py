"""A report page: tables, plots, and sounds with their spectrograms, inside it or beside it."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from sepcon.errors import SepconError
from sepcon.reports.labels import Labels, colours_of, ticks
from sepcon.runs.run_folder import write_text

_FFT_SAMPLES = 512
_MOST_PLAYED_HZ = 48_000
_LINE_STYLES = ("-", "--", ":", "-.")
_MAX_NAMES_INSIDE = 6


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
      caption: what stands under it.
      png: the file's bytes in base64.
      alternative: what it shows, in words, for those who do not see it.
    """

    caption: str
    png: str
    alternative: str


@dataclasses.dataclass(frozen=True)
class Clip:
    """A sound to play.

    Attributes:
      label: what it is.
      source: its address: a link, or the file itself as a data URL.
      png: its spectrogram, the file's bytes in base64.
      labels: what is said of it; the picture is then as wide as the page. None for nothing.
    """

    label: str
    source: str
    png: str
    labels: Labels | None = None


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
      heading: its title.
      paragraphs: text.
      table: rows of cells, the head first; empty for none.
      figures: pictures.
      clips: sounds.
      code: text shown as it is.
      together_seconds: how much of the clips their pictures show, where a button plays all clips
        together; the first is muted then, which the others sum to. 0 for no button.
    """

    heading: str
    paragraphs: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()
    figures: Sequence[Figure] = ()
    clips: Sequence[Clip] = ()
    code: str = ""
    together_seconds: float = 0.0

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The times below pictures that have labels: percent of their width, and text."""
        if not self.together_seconds or not any(clip.labels for clip in self.clips):
            return []
        return ticks(self.together_seconds)


def write_report(path: Path, *, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Writes a page into one HTML file, with all pictures and sounds in it.

    Args:
      path: the file; it appears whole or not at all.
      title: of the page.
      subtitle: one paragraph below the title.
      sections: in their order.

    Raises:
      SepconError: the libraries of the extra `report` are not installed, or the page cannot be
        written.
    """
    jinja2 = library("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    labels = [clip.labels for section in sections for clip in section.clips if clip.labels]
    page = environment.get_template("page.html").render(
        title=title, subtitle=subtitle, sections=sections, colours=colours_of(labels)
    )
    write_text(path, page)


def require_libraries() -> None:
    """Tells now, not after an hour of work, that a report cannot be made.

    Raises:
      SepconError: the libraries of the extra `report` are not installed.
    """
    for name in ("jinja2", "matplotlib", "sklearn"):
        library(name)


def library(name: str) -> Any:
    """Imports a library of the extra `report`.

    Raises:
      SepconError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise SepconError(
            f"reports need the package {name.split('.')[0]}, which is not installed; "
            "install the extra: pip install 'sepcon[report]'"
        ) from None


def audio_clip(
    label: str,
    waveform: npt.NDArray[np.float32],
    sample_rate_hz: int,
    labels: Labels | None = None,
) -> Clip:
    """Returns a player of a sound, with its log spectrogram.

    The sound is not normalised, so that the channels of a mixture have the loudness that they have
    in it; what is beyond full scale is clipped. Sounds of more than 48 kHz are resampled to that.

    Args:
      label: what is shown above the player.
      waveform: [samples] float32, full scale 1.
      sample_rate_hz: of the waveform.
      labels: what is said of it.
    """
    played, rate_hz = waveform, min(sample_rate_hz, _MOST_PLAYED_HZ)
    if rate_hz < sample_rate_hz:
        played = soxr.resample(waveform, sample_rate_hz, rate_hz)
    file = io.BytesIO()
    soundfile.write(file, played, rate_hz, format="FLAC", subtype="PCM_16")
    source = f"data:audio/flac;base64,{_base64(file.getvalue())}"
    return Clip(label, source, _spectrogram(waveform, sample_rate_hz, labels), labels)


def linked_clip(
    label: str,
    link: str,
    waveform: npt.NDArray[np.float32],
    sample_rate_hz: int,
    labels: Labels | None = None,
) -> Clip:
    """Returns a player for a file beside the page, with the log spectrogram of its beginning.

    Args:
      label: what it is.
      link: the file's address, relative to the page and quoted for a URL.
      waveform: [samples] in [-1, 1], what the spectrogram shows.
      sample_rate_hz: of the waveform.
      labels: what is said of it.
    """
    return Clip(label, link, _spectrogram(waveform, sample_rate_hz, labels), labels)


def line_figure(
    caption: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
) -> Figure:
    """Draws curves.

    Args:
      caption: of the figure.
      series: name of a curve -> its x and y, equally long.
      x_label: of the axis.
      y_label: of the axis.
    """
    figure, axes = _axes((7.0, 3.6))
    for number, (name, (x, y)) in enumerate(series.items()):
        # The colours come again after ten curves.
        style = _LINE_STYLES[number // 10 % len(_LINE_STYLES)]
        axes.plot(x, y, label=name, linewidth=1.2, linestyle=style)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    if len(series) > _MAX_NAMES_INSIDE:
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.02))
    elif len(series) > 1:
        axes.legend(fontsize=8)
    curves = [f"{name} from {y[0]:.3g} to {y[-1]:.3g}" for name, (_, y) in series.items() if len(y)]
    words = f"curves of {y_label} over {x_label}: {', '.join(curves)}"
    return Figure(caption, _png(figure), words)


def interval_curves_figure(
    caption: str,
    series: Mapping[str, Sequence[tuple[float, float, float, float]]],
    *,
    x_label: str,
    y_label: str,
) -> Figure:
    """Returns a plot of named curves with their intervals, over a logarithmic axis that has a zero.

    Args:
      caption: what stands under it.
      series: by name, points (x, value, low, high) in the order of x, which is not negative.
      x_label: text at the axis.
      y_label: text at the axis.
    """
    figure, axes = _axes((7.0, 3.6))
    places = sorted({point[0] for points in series.values() for point in points})
    for name, points in series.items():
        x, value, low, high = np.array(points, np.float64).reshape(-1, 4).T
        (line,) = axes.plot(x, value, label=name, linewidth=1.2, marker="o", markersize=3)
        axes.fill_between(x, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.axhline(0, color="black", linewidth=0.8)
    first = min((x for x in places if x > 0), default=1)
    axes.set_xscale("symlog", linthresh=first, linscale=0.5)
    axes.set_xlim(left=-0.2 * first)
    axes.set_xticks(places, [f"{x:g}" for x in places], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    curves = [
        f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}"
        for name, points in series.items()
        if points
    ]
    words = f"curves of {y_label} over {x_label}, with intervals: {', '.join(curves)}"
    return Figure(caption, _png(figure), words)


def interval_figure(
    caption: str, rows: Sequence[tuple[str, float, float, float]], *, x_label: str
) -> Figure:
    """Draws a point with an interval for each row, the first on top.

    Args:
      caption: of the figure.
      rows: name, value, lower and upper bound of each.
      x_label: of the axis of values.
    """
    figure, axes = _axes((7.0, 0.6 + 0.32 * len(rows)))
    values = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 3)
    errors = np.abs(values[:, 1:].T - values[:, 0])
    places = np.arange(len(rows))[::-1]
    axes.errorbar(values[:, 0], places, xerr=errors, fmt="o", capsize=3)
    axes.set_yticks(places, [row[0] for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(x_label)
    axes.grid(axis="x", alpha=0.3)
    points = [f"{name} {value:.3g} ({low:.3g} to {high:.3g})" for name, value, low, high in rows]
    return Figure(caption, _png(figure), f"{x_label}, with intervals: {', '.join(points)}")


def scatter_figure(
    caption: str,
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    coloured: Mapping[int, str],
) -> Figure:
    """Returns clouds of points side by side.

    Args:
      caption: what stands under it.
      panels: of each, its title, places [points, 2], and labels [points].
      coloured: label -> its name, for those that have a colour; all others are grey.
    """
    figure, all_axes = _axes((4.0 * len(panels) + 1.5, 4.0), columns=len(panels))
    for axes, (title, places, labels) in zip(np.atleast_1d(all_axes), panels, strict=True):
        others = ~np.isin(labels, list(coloured))
        axes.scatter(*places[others].T, s=6, color="0.85", linewidths=0)
        for number, (label, name) in enumerate(coloured.items()):
            own = places[labels == label]
            # C7 is a grey, as the others are.
            colour = "black" if number == 7 else f"C{number}"
            axes.scatter(*own.T, s=14, color=colour, linewidths=0, label=name)
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=1.5)
    titles = ", ".join(title for title, _, _ in panels)
    words = f"clouds of points ({titles}), in colours: {', '.join(coloured.values())}"
    return Figure(caption, _png(figure), words)


def matrix_figure(caption: str, shares: npt.NDArray[np.float64], names: Sequence[str]) -> Figure:
    """Draws a square matrix, such as that of confusions.

    Args:
      caption: of the figure.
      shares: [row, column] float in [0, 1].
      names: of the rows, and of the columns.
    """
    size = 2.2 + 0.24 * len(names)
    figure, axes = _axes((size, size))
    image = axes.imshow(shares, vmin=0.0, vmax=1.0, cmap="Blues")
    places = np.arange(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=7)
    axes.set_yticks(places, names, fontsize=7)
    for row, column in zip(*np.nonzero(np.round(shares, 2)), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{100 * shares[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(image, fraction=0.046)
    diagonal = [
        f"{name} {100 * share:.0f}" for name, share in zip(names, np.diag(shares), strict=True)
    ]
    return Figure(caption, _png(figure), f"matrix, percent on its diagonal: {', '.join(diagonal)}")


def _spectrogram(
    waveform: npt.NDArray[np.float32], sample_rate_hz: int, labels: Labels | None
) -> str:
    figure, axes = _axes((3.2 if labels is None else 9.6, 0.96))
    padded = np.pad(np.asarray(waveform, np.float64), (0, max(0, 2 * _FFT_SAMPLES - len(waveform))))
    axes.specgram(
        # A noise floor 140 dB under full scale keeps digital silence from becoming log of zero.
        padded + 1e-7 * np.random.default_rng(0).standard_normal(len(padded)),
        NFFT=_FFT_SAMPLES,
        noverlap=_FFT_SAMPLES * 3 // 4,
        Fs=sample_rate_hz,
        vmin=-130,
        vmax=-40,
    )
    axes.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1)
    return _png(figure, tight=False)


def _axes(size_inches: tuple[float, float], columns: int = 1) -> tuple[Any, Any]:
    library("matplotlib")
    # The object interface draws without a display and without pyplot's global state.
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=size_inches, dpi=100)
    return figure, figure.subplots(1, columns)


def _png(figure: Any, *, tight: bool = True) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight" if tight else None)
    return _base64(file.getvalue())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
