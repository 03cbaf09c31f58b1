"""The official folder of UrbanSound8K: `metadata/UrbanSound8K.csv`, `audio/fold1` to `fold10`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sepcon.data.tables import read_table
from sepcon.errors import SepconError

# In the order of the official class numbers.
_NAMES = """
air_conditioner car_horn children_playing dog_bark drilling
engine_idling gun_shot jackhammer siren street_music
"""
CLASS_NAMES = tuple(_NAMES.split())
TABLE = Path("metadata", "UrbanSound8K.csv")
_COLUMNS = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One clip of UrbanSound8K.

    Attributes:
      filename: its name in the table.
      path: its file, relative to the root.
      fold: 1 to 10.
      label: its class number.
      source_id: the Freesound recording it was cut from.
    """

    filename: str
    path: Path
    fold: int
    label: int
    source_id: str


def require_root(folder: str | Path) -> Path:
    """Returns the folder that holds the table: `folder`, or the release folder inside it.

    Raises:
      SepconError: there is none.
    """
    for root in (Path(folder), Path(folder) / "UrbanSound8K"):
        if (root / TABLE).is_file():
            return root
    raise SepconError(
        f"{folder}: is not an UrbanSound8K folder, {TABLE} is missing; expected that and "
        "audio/fold1 to audio/fold10, as in the official release"
    )


def read_rows(root: Path) -> list[Row]:
    """Reads the table, in its order.

    Raises:
      SepconError: it lacks a column, or a row is malformed.
    """
    table = root / TABLE
    return [_row(table, number, row) for number, row in read_table(table, _COLUMNS)]


def _row(table: Path, number: int, row: dict[str, str]) -> Row:
    try:
        name, fold, label = row["slice_file_name"], int(row["fold"]), int(row["classID"])
        if not name or fold < 1 or CLASS_NAMES[label] != row["class"].strip():
            raise ValueError
    except (TypeError, ValueError, IndexError, AttributeError):
        raise SepconError(
            f"{table}: line {number} is not a row of UrbanSound8K "
            f"({','.join(map(str, row.values()))}); expected {','.join(_COLUMNS)}"
        ) from None
    return Row(name, Path("audio", f"fold{fold}", name), fold, label, row["fsID"])
