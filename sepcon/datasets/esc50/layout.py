"""The official folder of ESC-50, `meta/esc50.csv` and `audio/`, in the variants that exist."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from sepcon.data.tables import read_table
from sepcon.errors import SepconError

# In the order of the official target numbers.
_NAMES = """
dog rooster pig cow frog cat hen insects sheep crow
rain sea_waves crackling_fire crickets chirping_birds
water_drops wind pouring_water toilet_flush thunderstorm
crying_baby sneezing clapping breathing coughing
footsteps laughing brushing_teeth snoring drinking_sipping
door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening
washing_machine vacuum_cleaner clock_alarm clock_tick glass_breaking
helicopter chainsaw siren car_horn engine
train church_bells airplane fireworks hand_saw
"""
CLASS_NAMES = tuple(_NAMES.split())
_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
_ENDINGS = (".wav", ".ogg", ".flac", ".mp3")


@dataclasses.dataclass(frozen=True)
class Row:
    """One clip of ESC-50; the names are those of the columns of `esc50.csv`."""

    path: Path
    filename: str
    fold: int
    category: str
    esc10: bool
    src_file: str
    take: str


def find_root(folder: str | Path) -> Path | None:
    """Returns `folder`, or the release folder inside it, whichever holds `meta/esc50.csv`."""
    for root in (Path(folder), Path(folder) / "ESC-50-master", Path(folder) / "ESC-50"):
        if (root / "meta" / "esc50.csv").is_file():
            return root
    return None


def require_root(folder: str | Path) -> Path:
    """Finds the root of an ESC-50 folder.

    Args:
      folder: the root, or the folder around it.

    Returns:
      The folder that holds `meta/esc50.csv`.

    Raises:
      SepconError: if the folder is missing or is not one.
    """
    if not Path(folder).is_dir():
        raise SepconError(f"{folder}: no such folder; give the ESC-50 folder")
    root = find_root(folder)
    if root is None:
        raise SepconError(
            f"{folder}: is not an ESC-50 folder, meta/esc50.csv is missing; expected audio/ and "
            "meta/esc50.csv as in the official release"
        )
    return root


def read_rows(root: Path) -> list[Row]:
    """Reads `meta/esc50.csv`, in its order.

    The official table names WAV files; a folder may hold the same recordings as Ogg, or the other
    way round. A fold of which no file is there counts as absent.

    Args:
      root: see `require_root`.

    Returns:
      The clips whose folds are there.

    Raises:
      SepconError: if the table lacks a column, a row is malformed, or no audio is there.
    """
    table = root / "meta" / "esc50.csv"
    rows = [_row(root, table, number, row) for number, row in read_table(table, _COLUMNS)]
    present = {row.fold for row in rows if row.path.exists()}
    if not present:
        raise SepconError(
            f"{root / 'audio'}: holds none of the {len(rows)} files of {table}; "
            "copy the audio folder of ESC-50 there"
        )
    return [row for row in rows if row.fold in present]


def _row(root: Path, table: Path, number: int, row: dict[str, str]) -> Row:
    try:
        fold = int(row["fold"])
        category = row["category"].strip()
        CLASS_NAMES.index(category)
        esc10 = {"true": True, "false": False}[row["esc10"].strip().lower()]
        if fold < 1 or not row["filename"]:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SepconError(
            f"{table}: line {number} is not a row of ESC-50 ({','.join(map(str, row.values()))}); "
            f"expected {','.join(_COLUMNS)} with one of the 50 categories"
        ) from None
    path = _find(root / "audio" / row["filename"])
    return Row(path, row["filename"], fold, category, esc10, row["src_file"], row["take"])


def _find(path: Path) -> Path:
    for candidate in (path, *(path.with_suffix(ending) for ending in _ENDINGS)):
        if candidate.exists():
            return candidate
    return path


def fingerprint(root: Path) -> str:
    """Computes a digest of the table and of the names and sizes of the audio files.

    It changes when a fold is added to the folder, which is then prepared anew.

    Args:
      root: see `require_root`.
    """
    digest = hashlib.sha256((root / "meta" / "esc50.csv").read_bytes())
    audio = root / "audio"
    for path in sorted(audio.iterdir()) if audio.is_dir() else []:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:8]
