"""The table of a classifier's classes as YAMNet has it: `index,mid,display_name`.

The machine identifiers (mids) are those of AudioSet's ontology (Gemmeke et al., 2017), as the class
map of YAMNet (tensorflow/models, Apache-2.0) lists them.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Sequence
from pathlib import Path

from sepcon.runs.csv_text import csv_text

COLUMNS = ("index", "mid", "display_name")
_TABLE = Path(__file__).with_name("audioset_classes.csv")


def class_map(class_names: Sequence[str]) -> str:
    """Returns a table of `index,mid,display_name`, as text.

    A class has the mid of the class of AudioSet that is named like it, in capital or small letters,
    or one of whose names is: `rooster` is that of "Chicken, rooster". Other classes have none.
    """
    mids = _mids()
    rows = [(index, mids.get(_key(name), ""), name) for index, name in enumerate(class_names)]
    return csv_text([COLUMNS, *rows])


@functools.cache
def _mids() -> dict[str, str]:
    """The mid of each name of a class; names that two classes share have none."""
    with _TABLE.open(encoding="utf-8", newline="") as file:
        rows = [(row["mid"], row["display_name"]) for row in csv.DictReader(file)]
    whole = {_key(name): mid for mid, name in rows}
    parts: dict[str, set[str]] = {}
    for mid, name in rows:
        for part in name.split(","):
            parts.setdefault(_key(part), set()).add(mid)
    unique = {part: next(iter(mids)) for part, mids in parts.items() if len(mids) == 1}
    return unique | whole


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
