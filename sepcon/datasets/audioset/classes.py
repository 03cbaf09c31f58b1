"""The classes of AudioSet: the table `class_labels_indices.csv` that is published with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from sepcon.data.tables import read_table
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
    rows = [row for _, row in read_table(table, _COLUMNS)]
    for number, row in enumerate(rows):
        if row["index"] != str(number) or not row["mid"]:
            raise SepconError(
                f"{table}: class number {number} has index {row['index']} and mid {row['mid']!r}, "
                f"expected index {number} and a mid"
            )
    numbers = {row["mid"]: number for number, row in enumerate(rows)}
    if len(numbers) < len(rows):
        raise SepconError(f"{table}: has a mid in two rows; give each class one row")
    return AudioSetClasses(tuple(row["display_name"] for row in rows), numbers)
