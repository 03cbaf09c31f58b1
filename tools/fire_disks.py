"""A disk that is full in the middle of every verb that writes, then has room again.

A limit on the length of files stands for it: a write beyond it fails in the system, in C as in
Python. The command must say so in one line and leave nothing unfinished; the same command, when
there is room, must end with the bytes of a run that nothing befell.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

import numpy as np
from fire_house import COMMANDS, House
from fire_process import DONE, REFUSED, Trouble
from fire_table import Table

TOLD, UNTOUCHED = "told in one line, then equal", "not hit, and equal"
NOT_TOLD, LEFT, OTHER, NOT_FINISHED = (
    "not told so",
    "leftovers",
    "other bytes",
    "not finished",
)


def table() -> Table:
    """An empty table."""
    bad = (NOT_TOLD, LEFT, OTHER, NOT_FINISHED)
    return Table("Full disk, then room again", "verb", (TOLD, UNTOUCHED), bad)


def fire(
    house: House, told: Table, *, count: int, seed: int, names: Sequence[str] = tuple(COMMANDS)
) -> Iterator[int]:
    """Runs commands on a full disk, then again; yields how many are done.

    Args:
      house: what is fired at.
      told: receives what became of each.
      count: of full disks, spread evenly over `names`.
      seed: decides how full they are.
      names: folders that are written.
    """
    for number in range(count):
        name = names[number % len(names)]
        house.make(name)
        sizes = _sizes(house, name)
        generator = np.random.default_rng([seed, number])
        # A part of one of the files that it writes, so that this one at least cannot be written.
        limit = int(generator.integers(sizes[int(generator.integers(len(sizes)))]))
        house.remove(name)
        became, detail = _become(house, name, limit)
        shown = f"disk {number} of seed {seed}, full behind {limit} bytes: {detail}"
        told.add(f"{COMMANDS[name].verb} ({name})", became, shown)
        if became not in (TOLD, UNTOUCHED):
            house.restore(name)
        yield number + 1


def _sizes(house: House, name: str) -> list[int]:
    return sorted(
        os.path.getsize(os.path.join(folder, file))
        for folder, _, files in os.walk(house.root / "whole" / name)
        for file in files
        if os.path.getsize(os.path.join(folder, file))
    )


def _become(house: House, name: str, limit: int) -> tuple[str, str]:
    """Runs the command on a full disk and again; returns what became of it, and more of that."""
    full = house.run(name, Trouble(file_bytes=limit))
    words = ("cannot be written", os.strerror(errno.EFBIG))
    says_so = full.outcome == REFUSED and any(word in full.last_line for word in words)
    if full.outcome != DONE and not says_so:
        return NOT_TOLD, f"{full.outcome}: {full.last_line}"
    left = [
        file
        for _, folders, files in os.walk(house.root / name)
        for file in (*folders, *files)
        if file.startswith(".scratch.") or file.endswith(".tmp")
    ]
    if left:
        return LEFT, ", ".join(left)
    again = house.run(name)
    if again.outcome != DONE:
        return NOT_FINISHED, f"{again.outcome}: {again.last_line}"
    different = house.differences(name)
    if different:
        return OTHER, "; ".join(different)
    return (UNTOUCHED if full.outcome == DONE else TOLD), ""
