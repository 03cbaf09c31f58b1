"""What the packaged weights are trained on: built-in events, and clips of ESC-10 that are free.

ESC-50 as a whole is CC BY-NC; its subset ESC-10 was published as CC BY. The table of attributions
that comes with ESC-50 gives each clip its own licence: where it is there, clips of ESC-10 whose own
licence is neither CC0 nor CC BY are left out too.
"""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import soundfile

from sepcon.audio.samples import SAMPLE_RATE_HZ, to_int16
from sepcon.data.audio_folder import find_audio
from sepcon.datasets.esc50.layout import CLASS_NAMES, Row, read_rows, require_root
from sepcon.scenes.synthetic import SyntheticEvents

_FREE = ("CC0", "CC-BY")
# The official release has the table in LICENSE, earlier ones in a text of its own.
_TABLES = ("LICENSE", "ATTRIBUTION.txt", "README.txt", "README.md")
_CLIP = re.compile(
    r"\[(?P<clip>\d-\d+-[A-Z])\.\w+\]:\s+clip derived from (?P<title>.*) "
    r"\((?P<address>https?://\S+)\) by (?P<author>.*) \[(?P<licence>[^\]]+)\]"
)


@dataclasses.dataclass(frozen=True)
class Attribution:
    """Whose a clip is: title and author of the recording, its address and licence."""

    title: str
    author: str
    address: str
    licence: str


@dataclasses.dataclass(frozen=True)
class Material:
    """What was put together.

    Attributes:
      recordings: a folder of recordings with labels.csv, to mix scenes of.
      esc10: the clips of ESC-10 in the layout of ESC-50; None without.
      test_fold: of ESC-10, whose clips are not among `recordings`.
      num_events: built-in events.
      num_clips: of ESC-10, with those of the test fold.
      num_left_out: clips of ESC-10 that are not free by themselves.
      attribution: whose the clips are, as text.
    """

    recordings: Path
    esc10: Path | None
    test_fold: int | None
    num_events: int
    num_clips: int
    num_left_out: int
    attribution: str


def write_material(folder: Path, *, esc50: Path | None, events_per_class: int) -> Material:
    """Puts the recordings together in a folder, which is emptied first.

    Args:
      folder: receives recordings/ and, with ESC-50, esc10/.
      esc50: an ESC-50 folder in its official layout; of it ESC-10 alone is read.
      events_per_class: of the built-in generator.

    Raises:
      SepconError: `esc50` is no such folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    recordings = folder / "recordings"
    table = write_events(recordings, events_per_class)
    num_events = len(table)
    rows: list[Row] = []
    esc10, test_fold, num_left_out, attribution = None, None, 0, ""
    if esc50 is not None:
        root = require_root(esc50)
        whole = [row for row in read_rows(root) if row.esc10]
        attributions = read_attributions(root)
        rows = [row for row in whole if is_free(row, attributions)]
        num_left_out = len(whole) - len(rows)
        test_fold = min(row.fold for row in rows)
        esc10 = write_esc10(folder / "esc10", rows)
        table += copy_clips(recordings, [row for row in rows if row.fold != test_fold])
        attribution = attribution_text(rows, attributions)
    with (recordings / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("filename", "label", "source"), *table])
    assert len(find_audio(recordings)) == len(table)
    return Material(recordings, esc10, test_fold, num_events, len(rows), num_left_out, attribution)


def write_events(folder: Path, per_class: int) -> list[tuple[str, str, str]]:
    """Writes built-in events as FLAC; returns file, label and source of each."""
    generator = SyntheticEvents()
    table = []
    for label, name in enumerate(generator.class_names):
        (folder / "builtin").mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            file = f"builtin/{name}-{number}.flac"
            soundfile.write(
                folder / file, to_int16(generator.generate(label, number)), SAMPLE_RATE_HZ
            )
            table.append((file, name, file))
    return table


def write_esc10(folder: Path, rows: Sequence[Row]) -> Path:
    """Writes clips into a folder of their own in the layout of ESC-50."""
    (folder / "audio").mkdir(parents=True)
    (folder / "meta").mkdir()
    head = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    cells = [
        (r.path.name, r.fold, CLASS_NAMES.index(r.category), r.category, True, r.src_file, r.take)
        for r in rows
    ]
    with (folder / "meta" / "esc50.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *cells])
    for row in rows:
        shutil.copy(row.path, folder / "audio")
    return folder


def copy_clips(folder: Path, rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Copies clips of ESC-10; returns file, label and source of each."""
    (folder / "esc10").mkdir(parents=True, exist_ok=True)
    for row in rows:
        shutil.copy(row.path, folder / "esc10")
    return [(f"esc10/{row.path.name}", row.category, f"freesound {row.src_file}") for row in rows]


def read_attributions(root: Path) -> dict[str, Attribution]:
    """Reads whose each clip of ESC-50 is, by `fold-source-take`; empty where no table is there."""
    for name in _TABLES:
        if (root / name).is_file():
            text = (root / name).read_text(encoding="utf-8", errors="replace")
            found = {match["clip"]: match for match in _CLIP.finditer(text)}
            if found:
                return {
                    clip: Attribution(
                        match["title"], match["author"], match["address"], match["licence"]
                    )
                    for clip, match in found.items()
                }
    return {}


def is_free(row: Row, attributions: dict[str, Attribution]) -> bool:
    """Whether a clip of ESC-10 may be trained on for anybody's use."""
    return not attributions or (
        _key(row) in attributions and attributions[_key(row)].licence in _FREE
    )


def attribution_text(rows: Sequence[Row], attributions: dict[str, Attribution]) -> str:
    """Returns a line for each recording that clips were cut from."""
    lines = {}
    for row in sorted(rows, key=lambda row: int(row.src_file)):
        whose = attributions.get(_key(row))
        what = f'"{whose.title}" by {whose.author}, {whose.licence}, ' if whose else ""
        address = whose.address if whose else f"https://freesound.org/s/{row.src_file}/"
        lines[row.src_file] = f"{row.src_file}: {what}{address} ({row.category})"
    return "\n".join(lines.values()) + "\n"


def _key(row: Row) -> str:
    return f"{row.fold}-{row.src_file}-{row.take}"
