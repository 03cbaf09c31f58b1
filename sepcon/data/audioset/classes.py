"""The classes of AudioSet: the table `class_labels_indices.csv` that is published with it."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable
from pathlib import Path

from sepcon.errors import SepconError

_COLUMNS = ("index", "mid", "display_name")


@dataclasses.dataclass(frozen=True)
class AudioSetClasses:
    """Classes in the order of their numbers.

    Attributes:
      names: what people call them.
      numbers: of each machine identifier (mid), such as /m/09x0r.
    """

    names: tuple[str, ...]
    numbers: dict[str, int]

    def encode(self, mids: Iterable[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Returns the numbers of the classes among `mids`, sorted, and the others as they are."""
        unique = dict.fromkeys(mids)
        known = sorted(self.numbers[mid] for mid in unique if mid in self.numbers)
        return tuple(known), tuple(mid for mid in unique if mid not in self.numbers)


def read_classes(table: str | Path) -> AudioSetClasses:
    """Reads a table of `index,mid,display_name`.

    Raises:
      SepconError: it is missing, lacks a column, or is not numbered through from 0.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = list(reader)
    except FileNotFoundError:
        raise SepconError(
            f"{table}: no such file; give class_labels_indices.csv, which AudioSet is published "
            "with"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SepconError(f"{table}: cannot be read as a UTF-8 table ({error})") from error
    if not rows or not set(_COLUMNS) <= set(rows[0]):
        raise SepconError(
            f"{table}: found columns {','.join(reader.fieldnames or ['nothing'])}, expected "
            f"{','.join(_COLUMNS)} and a row for each class"
        )
    for number, row in enumerate(rows):
        if row["index"] != str(number) or not row["mid"]:
            raise SepconError(
                f"{table}: line {number + 2} has index {row['index']} and mid {row['mid']!r}, "
                f"expected index {number} and a mid"
            )
    numbers = {row["mid"]: number for number, row in enumerate(rows)}
    if len(numbers) < len(rows):
        raise SepconError(f"{table}: has a mid in two rows; give each class one row")
    return AudioSetClasses(tuple(row["display_name"] for row in rows), numbers)
