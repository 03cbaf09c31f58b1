"""The rows of a study, as gin binds them: names with gin files and bindings."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sepcon.errors import SepconError, nearest

# Gin files and bindings, which hold a '='; a single one may stand by itself.
Entries = Sequence[str] | str


@dataclasses.dataclass(frozen=True)
class StudyRow:
    """One of the ways that a study holds side by side.

    Attributes:
      name: what the tables call it.
      gin_files: that its command gets before the study's.
      gin_bindings: that its command gets before those of the command line.
      bound: what its command has bound of what the plan asks for, see
        `sepcon.runs.launch.Launch.bound`; empty before the row has been checked.
    """

    name: str
    gin_files: tuple[str, ...] = ()
    gin_bindings: tuple[str, ...] = ()
    bound: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def folder(self) -> str:
        return folder_name(self.name)


def folder_name(name: str) -> str:
    """Returns a name as that of a folder: small letters, digits, and underscores for the rest."""
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def study_rows(
    rows: Mapping[str, Entries], grid: Sequence[Mapping[str, Entries]] = ()
) -> tuple[StudyRow, ...]:
    """Returns the rows of a study: those of the grid first.

    Args:
      rows: name -> entries.
      grid: factors, each a choice of entries by their names. There is a row for each combination,
        the first factor changing fastest; its name is those of its choices with commas between
        them, without empty ones, and its entries are theirs one after the other.

    Raises:
      SepconError: an entry is no text, or two rows would share a name or a folder.
    """
    found = [*_combinations(grid), *_items("study.rows", rows)]
    if not found:
        raise SepconError("study.rows or study.grid must name at least one row")
    made = tuple(_row(name, entries) for name, entries in found)
    for what in ("name", "folder"):
        values = [getattr(row, what) for row in made]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise SepconError(f"study.rows: two rows have the {what} {twice[0]!r}; rename one")
    return made


def _combinations(grid: Sequence[Mapping[str, Entries]]) -> list[tuple[str, tuple[str, ...]]]:
    if not grid:
        return []
    factors = [_items("study.grid", factor) for factor in grid]
    rows = []
    for reverse in itertools.product(*reversed(factors)):
        names, entries = zip(*reversed(reverse), strict=True)
        rows.append((", ".join(filter(None, names)), tuple(itertools.chain(*entries))))
    return rows


def _items(setting: str, rows: Any) -> list[tuple[str, tuple[str, ...]]]:
    if not isinstance(rows, Mapping):
        raise SepconError(
            f"{setting} must hold names with gin files and bindings, such as "
            f"{{'name': ('views/mixture_mixture.gin', 'BATCH_SIZE=64')}}, got {rows!r:.80}"
        )
    items = []
    for name, entries in rows.items():
        entries = (entries,) if isinstance(entries, str) else tuple(entries)
        if wrong := [entry for entry in entries if not isinstance(entry, str)]:
            raise SepconError(
                f"{setting}: {name!r} has {wrong[0]!r}, expected the path of a gin file or a "
                "binding as text"
            )
        items.append((str(name), entries))
    return items


def _row(name: str, entries: Sequence[str]) -> StudyRow:
    if not folder_name(name):
        raise SepconError(f"study.rows: the name {name!r} needs a letter or a digit")
    return StudyRow(
        name,
        gin_files=tuple(entry for entry in entries if "=" not in entry),
        gin_bindings=tuple(entry for entry in entries if "=" in entry),
    )


def matching(setting: str, patterns: Entries, names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names that match any of the patterns, in their own order.

    Args:
      setting: where the patterns are bound, for the message.
      patterns: names, in which * stands for any text.
      names: of all rows.

    Raises:
      SepconError: no name matches one of the patterns.
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    names = tuple(names)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise SepconError(
                f"{setting} names {pattern!r}, which is none of the rows: "
                f"{', '.join(map(repr, names))}{nearest(pattern, names)}"
            )
    return tuple(
        name for name in names if any(fnmatch.fnmatchcase(name, each) for each in patterns)
    )
