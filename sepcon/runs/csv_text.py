"""Tables for people and programs as CSV: the one form in which sepcon writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import IO


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Writes a table as CSV: commas, lines ending in \n, quotes where they are needed.

    Args:
      rows: the cells of each row, the header first.

    Returns:
      The whole text of the file.
    """
    text = io.StringIO()
    write_csv_rows(text, rows)
    return text.getvalue()


def write_csv_rows(file: IO[str], rows: Iterable[Iterable[object]]) -> None:
    """Appends rows to an open file, in the same form: for tables too large for the memory.

    Args:
      file: open for writing, with newline="".
      rows: the cells of each row.
    """
    csv.writer(file, lineterminator="\n").writerows(rows)
