"""Tables with named columns, as data sets are published with them.

Columns can only be asked for by their names. There is no access by position, because the second
column of one data set is the class and that of another one the fold.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from sepcon.errors import SepconError, one_line, printable, refuse_pipe

DELIMITERS = (",", ";", "\t")
# A byte order mark says what a text is encoded in. The longer marks begin like the shorter ones.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      name: as its header has it.
      number: where it stands, from 0.
    """

    name: str
    number: int

    @property
    def key(self) -> str:
        """The name in small letters and digits only: `File_Name` is `filename`."""
        letters = unicodedata.normalize("NFKC", self.name).casefold()
        return "".join(letter for letter in letters if letter.isalnum())


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as one of the delimiters cuts it.

    Attributes:
      path: its file.
      delimiter: between two cells.
      columns: in their order; without a header they are called by their numbers, from 1.
      lines: the number of the line where each row ends, from 1.
    """

    path: Path
    delimiter: str
    columns: tuple[Column, ...]
    lines: tuple[int, ...]
    _rows: tuple[tuple[str, ...], ...]

    @property
    def header(self) -> str:
        """The names of the columns, for messages."""
        names = (printable(column.name) for column in self.columns)
        return (self.delimiter if self.delimiter != "\t" else "<tab>").join(names)

    def cells(self, column: Column) -> list[str]:
        """Returns the cells of a column, one for each row, without the space around them.

        Raises:
          SepconError: a row ends before it.
        """
        for line, row in zip(self.lines, self._rows, strict=True):
            if column.number >= len(row):
                raise SepconError(
                    f"{self.path}: line {line} has {_counted(len(row))}, its column "
                    f"{column.name!r} is missing; expected {self.header}"
                )
        return [row[column.number].strip() for row in self._rows]

    def cells_or_empty(self, column: Column) -> list[str]:
        """Returns the cells of a column that need not be filled; rows may end before it."""
        return [
            row[column.number].strip() if column.number < len(row) else "" for row in self._rows
        ]


def open_table(path: str | Path, expected: str) -> list[Table]:
    """Reads a table with a header, as each of the delimiters in its header cuts it.

    The caller knows the right delimiter by the names of the columns. Lines in front of the header
    that begin with `#` are comments; the last of them is the header if nothing but comments stands
    above the rows, as in AudioSet.

    Args:
      path: its file: UTF-8, or UTF-16 or UTF-32 with a byte order mark.
      expected: what the table should be, for messages.

    Returns:
      A table for each delimiter that fits.

    Raises:
      SepconError: it is missing, empty or no text, or no delimiter cuts it into rows that are not
        longer than the header.
    """
    return _tables(Path(path), expected, with_header=True)


def open_table_without_header(path: str | Path, expected: str) -> list[Table]:
    """Reads a table without a header, whose first line is a row; otherwise as `open_table`.

    Args:
      path: its file.
      expected: what the table should be, for messages.

    Returns:
      A table for each delimiter that fits; its columns are called by their numbers, from 1.

    Raises:
      SepconError: see `open_table`.
    """
    return _tables(Path(path), expected, with_header=False)


def read_table(table: str | Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Reads the rows of a table with a header.

    Args:
      table: the file, as in `open_table`.
      columns: those that it must have; it may have others.

    Returns:
      For each row the number of its line, from 1, and name of the column -> cell.

    Raises:
      SepconError: it is missing, is not such a table, or lacks a column.
    """
    expected = f"a table with the columns {','.join(columns)}"
    for read in open_table(table, expected):
        by_name = {column.name.strip(): column for column in read.columns}
        missing = [name for name in columns if name not in by_name]
        if not missing:
            cells = {
                name: (read.cells if name in columns else read.cells_or_empty)(column)
                for name, column in by_name.items()
            }
            return [
                (line, {name: values[number] for name, values in cells.items()})
                for number, line in enumerate(read.lines)
            ]
    raise SepconError(
        f"{table}: column {missing[0]} is missing, found {read.header or 'nothing'}; "
        f"expected {','.join(columns)}"
    )


def _tables(path: Path, expected: str, *, with_header: bool) -> list[Table]:
    """Returns what the delimiters make of a text, that which makes most columns last."""
    text = _read_text(path, expected)
    tables: list[Table] = []
    faults = []
    # A wrong delimiter makes rows of all lengths; the fault of the commonest one is told.
    for delimiter in sorted(DELIMITERS, key=text.count, reverse=True):
        try:
            records = _records(text, delimiter)
        except csv.Error as fault:
            faults.append(
                f"{path}: cannot be read as a table ({one_line(fault)}); expected {expected}"
            )
            continue
        for header in _header_rows(records) if with_header else [-1]:
            try:
                tables.append(_table(path, delimiter, records, header))
            except _UnevenRowsError as fault:
                faults.append(f"{path}: {fault}")
    several = [table for table in tables if len(table.columns) > 1]
    if not several and faults:
        raise SepconError(faults[0])
    return sorted(several or tables[:1], key=lambda table: len(table.columns))


class _UnevenRowsError(Exception):
    """A row is longer than the header."""


def _read_text(path: Path, expected: str) -> str:
    try:
        refuse_pipe(path)
        data = path.read_bytes()
    except FileNotFoundError:
        raise SepconError(f"{path}: no such file; expected {expected}") from None
    except OSError as error:
        raise SepconError(f"{path}: cannot be read as a table ({error.strerror})") from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SepconError(
            f"{path}: cannot be read as a UTF-8 table (byte {data[error.start]:#04x} in line "
            f"{line}); save it as UTF-8"
        ) from error
    if "\0" in text:
        raise SepconError(
            f"{path}: cannot be read as a UTF-8 table (it holds zero bytes, as UTF-16 without a "
            "byte order mark and binary files do); save it as UTF-8"
        )
    if not text.strip():
        raise SepconError(f"{path}: is empty; expected {expected}")
    return text


def _records(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    # Strict: a quote that is never closed would swallow all that follows into one cell. Without
    # skipinitialspace the quotes of `a.wav, "dog"` would not be quotes.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]


def _header_rows(records: Sequence[tuple[int, list[str]]]) -> list[int]:
    """Numbers of the records that may be the header: the last of the comments, the one below."""
    comments = 0
    while comments < len(records) and records[comments][1][0].startswith("#"):
        comments += 1
    return [row for row in (comments - 1, comments) if 0 <= row < len(records)]


def _table(
    path: Path, delimiter: str, records: Sequence[tuple[int, list[str]]], header: int
) -> Table:
    """Makes a table of the records below a header; with -1 all are rows."""
    if header >= 0:
        names = [name.strip().removeprefix("#").strip() for name in records[header][1]]
    else:
        names = [str(number + 1) for number in range(len(records[0][1]))]
    for line, row in records[header + 1 :]:
        if any(cell.strip() for cell in row[len(names) :]):
            raise _UnevenRowsError(
                f"line {line} has {_counted(len(row))}, the first line has {len(names)}; a cell "
                "that holds the delimiter must stand in quotes"
            )
    return Table(
        path=path,
        delimiter=delimiter,
        columns=tuple(Column(name, number) for number, name in enumerate(names)),
        lines=tuple(line for line, _ in records[header + 1 :]),
        _rows=tuple(tuple(row[: len(names)]) for _, row in records[header + 1 :]),
    )


def _counted(number: int) -> str:
    return f"{number} column{'' if number == 1 else 's'}"
