"""Puts sepcon under fire and prints tables of what became of it.

    python tools/fire.py                                  # everything: an hour of one core
    python tools/fire.py --part audio --count 500 --seed 7
    python tools/fire.py --short                          # a little of each, as the tests do

Parts: `audio` (mutated audio files through the decoder), `images` (likewise), `files` (mutated
records, checkpoints, manifests and models fed to what reads them), `disks` (a full disk in every
verb that writes), `kills` (SIGKILL at random moments of every verb that takes long). --seed makes
each of them again; what depends on the clock, half of the kills, only as far as the clock allows.
Exit code 1 if anything is in a column where nothing may be; Ctrl-C prints the tables so far.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fire_audio
import fire_contents
import fire_disks
import fire_files
import fire_house
import fire_images
import fire_kills
import fire_process
from fire_table import Table

import sepcon

# How many of each: all of them, and in the short form.
COUNTS = {
    "audio": (10_000, 300),
    "images": (2_000, 45),
    "files": (1_000, 30),
    "disks": (60, 1),
    "kills": (100, 1),
}
_SHOW_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=COUNTS, help="one of them; repeatable")
    parser.add_argument("--count", type=int, help="how many of each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="a little of each part")
    parser.add_argument("--keep", type=Path, help="folder for audio files and images at fault")
    given = parser.parse_args(arguments)
    parts = given.part or list(COUNTS)
    counts = {part: given.count or COUNTS[part][given.short] for part in parts}
    if not {"audio", "images"}.issuperset(parts):
        fire_process.load_everything()
    tables: list[Table] = []
    code = 0
    with fire_process.scratch_folder() as root:
        try:
            _fire(root, counts, given.seed, given.keep, tables, short=given.short)
        except KeyboardInterrupt:
            print("\ninterrupted; so far:", file=sys.stderr)
            code = 130
    print(f"Seed {given.seed}, {os.cpu_count()} cores, {Path(sepcon.__file__).parent}.\n")
    for table in tables:
        print(table.text() + "\n")
    faults = [fault for table in tables for fault in table.faults]
    print("\n".join(faults))
    return code or bool(faults)


def _fire(
    root: Path,
    counts: dict[str, int],
    seed: int,
    keep: Path | None,
    tables: list[Table],
    *,
    short: bool,
) -> None:
    house = fire_house.House(root)
    # In the tests there is time for the import alone, and for what reads it.
    names = ("imported",) if short else tuple(fire_house.COMMANDS)
    readers = {name: each for name, each in fire_files.READERS.items() if each.folder in names}
    # Tests run beside each other.
    seconds = 60.0 if short else fire_audio.SECONDS
    shares = {name: share for name, share in fire_kills.SHARES.items() if name in names}
    fires: dict[str, tuple[Callable[[], Table], Callable[[Table, int], Iterator[int]]]] = {
        "audio": (
            fire_audio.table,
            lambda table, count: fire_audio.fire(
                table, count=count, seed=seed, seconds=seconds, keep=keep
            ),
        ),
        "images": (
            fire_images.table,
            lambda table, count: fire_images.fire(table, count=count, seed=seed, keep=keep),
        ),
        "files": (
            fire_files.table,
            lambda table, count: fire_files.fire(
                house, table, count=count, seed=seed, readers=readers
            ),
        ),
        "disks": (
            fire_disks.table,
            lambda table, count: fire_disks.fire(house, table, count=count, seed=seed, names=names),
        ),
        "kills": (
            fire_kills.table,
            lambda table, count: fire_kills.fire(
                house, table, count=count, seed=seed, shares=shares
            ),
        ),
    }
    for part, count in counts.items():
        make, begin = fires[part]
        tables.append(make())
        if part in ("kills", "disks"):
            tables[-1].notes["left out"] = f"Left out of the comparison: {fire_contents.LEFT_OUT}."
        _watch(part, count, begin(tables[-1], count), tables[-1])


def _watch(part: str, count: int, done: Iterator[int], table: Table) -> None:
    """Goes through a part and says now and then how far it is and how long it will take."""
    start = shown = time.monotonic()
    told = 0
    for number in done:
        now = time.monotonic()
        for fault in table.faults[told:]:
            print(f"{part}: {fault}", file=sys.stderr, flush=True)
        told = len(table.faults)
        if now - shown >= _SHOW_SECONDS or number == count:
            shown = now
            left = (now - start) / number * (count - number)
            line = f"{part}: {number} of {count}, {len(table.faults)} faults, {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
