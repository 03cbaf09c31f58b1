"""Tables for people and programs as CSV: the one form in which sepcon writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Returns a table as text: commas, lines that end as on Unix, quotes where they are needed.

    Args:
      rows: the cells of each, the head first.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
