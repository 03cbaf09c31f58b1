"""Clips that are left out by name: the list, and which clips it means."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepcon.errors import SepconError, one_line, printable, refuse_pipe

_HEADS = {"id", "name", "file", "filename", "path", "clip"}
_SHOWN = 5


def excluded_names(exclude: str | os.PathLike | Sequence[str]) -> list[str]:
    """Returns the names of what is to be left out.

    Args:
      exclude: the names; or the path of a file that has one in each line, or in the first cell of
        each line of a table. Empty lines, those that begin with #, and a head such as `filename`
        count for nothing.

    Raises:
      SepconError: the file cannot be read.
    """
    if not isinstance(exclude, str | os.PathLike):
        return [str(name) for name in exclude]
    if not str(exclude):
        return []
    path = Path(exclude).expanduser()
    try:
        refuse_pipe(path)
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            cells = [row[0].strip() for row in csv.reader(file) if row]
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise SepconError(
            f"{printable(str(path))}: cannot be read ({reason}); expected a file with the name of "
            "a clip in each line"
        ) from error
    names = [cell for cell in cells if cell and not cell.startswith("#")]
    return names[1:] if names and names[0].lower() in _HEADS else names


def excluded_positions(
    exclude: str | os.PathLike | Sequence[str],
    names_of: Sequence[Sequence[str]],
    *,
    of: str,
) -> set[int]:
    """Returns which clips are to be left out, and tells on standard error what became of the list.

    A name is that of a clip, or of the file it is of. The end of a path does too (`3.wav` for
    `a/3.wav`), where only one clip has it.

    Args:
      exclude: see `excluded_names`.
      names_of: the names of each clip: its id, and the file it is of.
      of: what the clips are, for messages.

    Raises:
      SepconError: the list cannot be read, a name may be that of several clips, or no clip is left.
    """
    names = excluded_names(exclude)
    if not names:
        return set()
    whole, ends = _indices(names_of)
    left_out: set[int] = set()
    unknown = []
    for name in names:
        found = whole.get(name) or ends.get(name.removeprefix("./"))
        if found is None:
            unknown.append(name)
        elif len(found) > 1:
            raise SepconError(
                f"exclude: {printable(repr(name))} may be any of {len(found)} clips of {of}; give "
                "it with its folders"
            )
        else:
            left_out |= found
    if len(left_out) == len(names_of):
        raise SepconError(f"exclude: no clip of {of} is left; leave fewer out")
    print(f"sepcon: {printable(of)}: {_summary(left_out, unknown)}", file=sys.stderr)
    return left_out


def _indices(
    names_of: Sequence[Sequence[str]],
) -> tuple[Mapping[str, set[int]], Mapping[str, set[int]]]:
    """Clips by their whole names, and by the ends of these behind each slash."""
    whole: dict[str, set[int]] = {}
    ends: dict[str, set[int]] = {}
    for position, names in enumerate(names_of):
        for name in names:
            whole.setdefault(name, set()).add(position)
            parts = name.split("/")
            for start in range(len(parts)):
                ends.setdefault("/".join(parts[start:]), set()).add(position)
    return whole, ends


def _summary(left_out: set[int], unknown: Sequence[str]) -> str:
    text = f"{len(left_out)} clips are left out by name"
    if unknown:
        shown = ", ".join(printable(repr(name)) for name in unknown[:_SHOWN])
        more = ", ..." if len(unknown) > _SHOWN else ""
        text += f"; {len(unknown)} names match no clip: {shown}{more}"
    return text
