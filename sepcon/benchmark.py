"""`sepcon benchmark`: measures what was trained; writes the results down and shows the table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sepcon import run_folder
from sepcon.comparison import align
from sepcon.errors import SepconError, one_line

RESULTS_FILE = "results.json"

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Results:
    """What was measured. Attributes: rows, for programs; table, for people, the head first."""

    rows: list[Row]
    table: Sequence[Sequence[str]]


def benchmark(
    *, run_dir: str | Path, measure: Callable[[Path], Results], config_text: str = ""
) -> list[Row]:
    """Measures once; a folder that holds the results already is left as it is.

    Args:
      run_dir: where to write; results.json, the rows, comes last.
      measure: what is measured: `benchmark_embeddings` or `benchmark_separation` with its
        arguments bound. Called with the run folder, in which it may keep what helps a killed run
        to go on.
      config_text: the resolved configuration, saved as config.gin.

    Returns:
      The rows of results.json.

    Raises:
      SepconError: what is measured is not as it must be, or the folder cannot be written.
    """
    folder = Path(run_dir)
    if not run_folder.begin(folder, config_text=config_text):
        return read_results(folder / RESULTS_FILE)
    results = measure(folder)
    try:
        text = json.dumps(results.rows, indent=1) + "\n"
        run_folder.write_text(folder / RESULTS_FILE, text)
        run_folder.finish(folder, {"rows": len(results.rows)})
    except OSError as error:
        raise SepconError(f"cannot write results to {folder}: {one_line(error)}") from error
    print(align(results.table))
    return results.rows


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows of the same keys as a table, the keys as its head.

    Raises:
      SepconError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        run_folder.write_text(path, text.getvalue())
    except OSError as error:
        raise SepconError(f"{path} cannot be written: {one_line(error)}") from error


def read_results(path: Path) -> Any:
    """Returns the content of a results.json.

    Raises:
      SepconError: it cannot be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SepconError(f"{path} cannot be read: {one_line(error)}") from error
