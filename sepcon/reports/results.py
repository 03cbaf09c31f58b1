"""The results of a benchmark on disk: for programs and as a table for people."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sepcon.runs import run_folder
from sepcon.runs.json_file import told_if_damaged

RESULTS_FILE = "results.json"


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
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    run_folder.write_text(path, text.getvalue())


def read_results(path: Path) -> Any:
    """Returns the content of a results.json.

    Raises:
      SepconError: it cannot be read.
    """
    with told_if_damaged(path, cure="remove the folder, then run the verb again"):
        return json.loads(path.read_text(encoding="utf-8"))
