"""A table of what became of what was fired at, and what went wrong, one line each."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass
class Table:
    """Counts by row and column.

    Attributes:
      title: what was fired at what.
      head: what the rows are.
      good: columns of what may happen.
      bad: columns of what must not.
      counts: by (row, column).
      faults: what went wrong, one line each.
      notes: lines that stand below the table, by name, each replaced by its next one.
    """

    title: str
    head: str
    good: tuple[str, ...]
    bad: tuple[str, ...]
    counts: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    faults: list[str] = dataclasses.field(default_factory=list)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, row: str, column: str, detail: str = "") -> None:
        """Counts one; `detail` is kept of what must not happen."""
        if column not in self.good + self.bad:
            raise ValueError(f"column {column!r} is none of {self.good + self.bad}")
        self.counts[row, column] += 1
        if column in self.bad:
            self.faults.append(f"{row}: {column}: {detail}")

    def total(self, column: str) -> int:
        """How many there are of this column in all rows."""
        return sum(count for (_, name), count in self.counts.items() if name == column)

    def text(self) -> str:
        """The table as Markdown."""
        columns = self.good + self.bad
        lines = [f"{self.title}:\n", f"| {self.head} | " + " | ".join(columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for row in dict.fromkeys(row for row, _ in self.counts):
            cells = " | ".join(str(self.counts[row, column]) for column in columns)
            lines.append(f"| {row} | {cells} |")
        lines.append("| all | " + " | ".join(str(self.total(name)) for name in columns) + " |")
        return "\n".join([*lines, *([""] if self.notes else []), *self.notes.values()])


def spread(shares: Mapping[str, int]) -> list[str]:
    """Returns each name as often as its share says, all of them spread over the whole."""
    places = [(place / share, name) for name, share in shares.items() for place in range(share)]
    return [name for _, name in sorted(places)]
