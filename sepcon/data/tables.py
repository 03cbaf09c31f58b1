"""Tables with named columns, as data sets are published with them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from sepcon.errors import SepconError


def read_table(table: str | Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Returns the rows of a CSV by the names of its first line, each with the number of its line.

    Args:
      table: the file, UTF-8.
      columns: those that it must have; it may have others.

    Raises:
      SepconError: it is missing, is not such a table, or lacks a column.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            names = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise SepconError(
            f"{table}: no such file; expected a table with the columns {','.join(columns)}"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SepconError(f"{table}: cannot be read as a UTF-8 table ({error})") from error
    missing = [name for name in columns if name not in names]
    if missing:
        raise SepconError(
            f"{table}: column {missing[0]} is missing, found {','.join(names or ['nothing'])}; "
            f"expected {','.join(columns)}"
        )
    return rows
