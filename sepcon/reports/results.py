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


def read_results(path: Path) -> Any:
    """Returns the content of a results.json.

    Raises:
      SepconError: it cannot be read.
    """
    with told_if_damaged(path, cure="remove the folder, then run the verb again"):
        return json.loads(path.read_text(encoding="utf-8"))
