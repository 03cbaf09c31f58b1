"""SIGKILL at random moments of every verb that takes long, each followed by the same command.

A run that was killed and begun again, one to three times, must hold the bytes of a run that was
not. Every other kill comes after a random share of the time, of the process alone or with its
children; the others come right before the command makes, renames or removes its n-th file, which
the seed repeats exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from fire_house import COMMANDS, House
from fire_process import DONE, KILLED, Ended, Trouble
from fire_table import Table, spread

# What the verbs that take long make, each with its share of a hundred kills: those that take
# longest get fewer.
SHARES = {
    "imported": 14,
    "pictured": 10,
    "prepared": 12,
    "embeddings": 12,
    "separated": 9,
    "channels": 7,
    "masks": 5,
    "benchmarked": 6,
    "separator": 6,
    "encoder": 6,
    "image_encoder": 4,
    "finetuned": 4,
    "exported": 3,
    "studied": 2,
}
_MOST_KILLS = 3
EQUAL, OTHER, NOT_FINISHED = "equal to an unbroken run", "other bytes", "not finished"


def table() -> Table:
    """An empty table."""
    return Table("Killed, then run again", "verb", (EQUAL,), (OTHER, NOT_FINISHED))


def fire(
    house: House, told: Table, *, count: int, seed: int, shares: Mapping[str, int] = SHARES
) -> Iterator[int]:
    """Kills commands, lets each go on, and compares; yields after each how many are done.

    Args:
      house: what is fired at.
      told: receives what became of each.
      count: of kills.
      seed: of the moments.
      shares: folders whose commands are killed, and how often each is of as many as these are.
    """
    names, number, run = spread(shares), 0, 0
    while number < count:
        name = names[run % len(names)]
        ended = house.make(name)
        generator = np.random.default_rng([seed, run])
        house.remove(name)
        most = min(count - number, int(generator.integers(1, _MOST_KILLS + 1)))
        moments = _kill(house, name, ended, generator, most)
        became, detail = _go_on(house, name)
        for _ in moments:
            told.add(_row(name), became, "")
        if became != EQUAL:
            shown = f"run {run} of seed {seed}, killed {', '.join(moments)}: {detail}"
            told.faults[-len(moments) :] = [f"{_row(name)}: {became}: {shown}"]
            house.restore(name)
        number, run = number + len(moments), run + 1
        told.notes["runs"] = f"{number} kills of {run} runs."
        yield number


def _row(name: str) -> str:
    command = COMMANDS[name]
    return f"{command.verb} ({name})"


def _kill(
    house: House, name: str, unbroken: Ended, generator: np.random.Generator, most: int
) -> list[str]:
    """Starts a command and kills it, up to `most` times, at least once; returns when."""
    moments: list[str] = []
    while len(moments) < most:
        if generator.random() < 0.5:
            deed = int(generator.integers(1, unbroken.deeds + 1))
            trouble, moment = Trouble(kill_deed=deed), f"before file {deed} of {unbroken.deeds}"
        else:
            seconds = float(generator.uniform(0.02, unbroken.seconds))
            group = bool(generator.integers(2))
            trouble = Trouble(kill_seconds=seconds, with_children=group)
            moment = f"after {seconds:.2f} s of {unbroken.seconds:.2f}"
        if house.run(name, trouble).outcome == KILLED:
            moments.append(moment)
        elif moments:
            break  # What was left to do was over before.
        else:
            house.remove(name)
    return moments


def _go_on(house: House, name: str) -> tuple[str, str]:
    """Runs the same command again; returns what became of it, and more of that."""
    ended = house.run(name)
    if ended.outcome != DONE:
        return NOT_FINISHED, f"{ended.outcome}: {ended.last_line}"
    different = house.differences(name)
    return (OTHER, "; ".join(different)) if different else (EQUAL, "")
