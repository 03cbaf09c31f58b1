"""Tables for people and programs as CSV: the one form in which sepcon writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Writes a table as CSV: commas, lines ending in \n, quotes where they are needed.

    Args:
      rows: the cells of each row, the header first.

    Returns:
      The whole text of the file.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
