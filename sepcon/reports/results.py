"""The results of a benchmark on disk: for programs and as a table for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sepcon.runs import run_folder
from sepcon.runs.csv_text import csv_text
from sepcon.runs.json_file import told_if_damaged

RESULTS_FILE = "results.json"
# What a benchmark of embeddings measures beside the models that it is given.
LOG_MEL_STATISTICS = "log_mel_statistics"
UNTRAINED_ENCODER = "untrained_encoder"

# One line of results: what was measured, by name.
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Results:
    """What was measured. Attributes: rows, for programs; table, for people, the head first."""

    rows: list[Row]
    table: Sequence[Sequence[str]]


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows of the same keys as a table, the keys as its head.

    Raises:
      WriteError: the file cannot be written.
    """
    head = list(rows[0])
    for row in rows:
        if row.keys() != rows[0].keys():
            raise ValueError(f"rows must have the same keys, got {list(row)}, expected {head}")
    table = csv_text([head, *([row[name] for name in head] for row in rows)])
    run_folder.write_text(path, table)


_CURE = "remove the folder, then run the verb again"


def read_results(path: Path) -> Any:
    """Returns the content of a results.json.

    Raises:
      SepconError: it cannot be read.
    """
    with told_if_damaged(path, cure=_CURE):
        return json.loads(path.read_text(encoding="utf-8"))


def read_rows(path: Path, *, numbers: Sequence[str]) -> list[Row]:
    """Returns the rows of a results.json, which is a list of them or has one under 'rows'.

    Args:
      path: the file.
      numbers: keys under which every row must have a number, or null.

    Raises:
      SepconError: it cannot be read, or a row is not as it must be.
    """
    content = read_results(path)
    with told_if_damaged(path, cure=_CURE):
        rows = content["rows"] if isinstance(content, dict) else content
        for row in rows:
            wrong = [key for key in numbers if not isinstance(row[key], int | float | None)]
            if wrong:
                raise TypeError(f"{wrong[0]} is {row[wrong[0]]!r}, expected a number")
        return [dict(row) for row in rows]
