"""The table that labels the files of a folder of audio."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sepcon.data.label_tables.cells import (
    NO_VALUE,
    BadLabelsError,
    check_labels,
    clean,
    split_labels,
)
from sepcon.data.label_tables.columns import (
    EXPECTED,
    LabelColumns,
    UnclearColumnsError,
    find_columns,
    find_columns_without_header,
    is_on,
)
from sepcon.data.label_tables.file_names import AmbiguousNameError, FileNames
from sepcon.data.tables import Column, open_table, open_table_without_header
from sepcon.errors import SepconError, printable


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a table of labels says.

    Attributes:
      class_names: every label in the table, sorted.
      paths: the audio files it names, in their order.
      numbers: the classes of each path; none where the table has an empty cell.
      groups: the original each file was cut from, where the table says so; by name.
      folds: the fold or split of each file, where the table says so; by name.
      missing: names in the table that no file has, sorted.
    """

    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    numbers: tuple[tuple[int, ...], ...]
    groups: dict[str, str]
    folds: dict[str, str]
    missing: tuple[str, ...] = ()

    @property
    def labelled_paths(self) -> list[Path]:
        """The files that have a label."""
        pairs = zip(self.paths, self.numbers, strict=True)
        return [path for path, numbers in pairs if numbers]


def read_labels(
    table: str | Path, paths: Sequence[Path], folder: str | Path, *, allow_missing: bool = False
) -> Labels:
    """Reads a table of labels; the columns are recognised by their names alone.

    `label_tables` says which names of columns, separators and spellings of file names are
    understood. A table of two columns without a header is taken for file and label. A file named in
    several rows has the labels of all of them. A summary is printed on standard error, with what
    may be a mistake: files without a label, or with different labels in several rows.

    Args:
      table: the file.
      paths: the audio files in `folder`.
      folder: what the names in the table are relative to.
      allow_missing: whether names without a file are listed as missing; else they are refused.

    Returns:
      The labels of the files.

    Raises:
      SepconError: the table is missing or not understood, holds no label, or names a file that may
        be several, no file at all or, unless `allow_missing`, one that is not there.
    """
    names = FileNames(paths, Path(folder))
    columns = _understand(Path(table), names)
    rows, missing = _match_rows(columns, names, folder, allow_missing=allow_missing)
    labels = _labels_of_rows(columns)
    named: dict[Path, set[str]] = {}
    for path, number in rows:
        named.setdefault(path, set()).update(labels[number])
    class_names = tuple(sorted({label for found in named.values() for label in found}))
    if not class_names:
        raise SepconError(f"{table}: holds no label; expected {EXPECTED}")
    number_of = {name: number for number, name in enumerate(class_names)}
    listed = tuple(path for path in paths if path in named)
    numbers = tuple(tuple(sorted(number_of[label] for label in named[p])) for p in listed)
    read = Labels(
        class_names=class_names,
        paths=listed,
        numbers=numbers,
        groups=_one_of_each(columns, columns.group, rows, folder),
        folds=_one_of_each(columns, columns.fold, rows, folder),
        missing=tuple(sorted(missing)),
    )
    several = {path: named[path] for path, number in rows if {*labels[number]} != named[path]}
    for line in (f"{columns}: {_summary(read)}", *_doubts(read, several, len(paths))):
        print(f"{table}: {printable(line)}", file=sys.stderr)
    return read


def _understand(path: Path, names: FileNames) -> LabelColumns:
    """Finds the delimiter and the columns of a table.

    Raises:
      SepconError: no way to read it is understood, or several are.
    """
    understood: list[LabelColumns | None] = []
    reasons = []
    tables = open_table(path, EXPECTED)
    for table in tables:
        try:
            understood.append(find_columns(table, names.find_or_none))
        except UnclearColumnsError as reason:
            reasons = [str(reason)]
    for table in [] if understood else open_table_without_header(path, EXPECTED):
        try:
            understood.append(find_columns_without_header(table, names.find_or_none))
        except UnclearColumnsError as reason:
            reasons = [str(reason)]
    ways = [columns for columns in understood if columns is not None]
    if len(ways) != 1:
        why = "it may be read in several ways; use one delimiter" if ways else reasons[0]
        raise SepconError(
            f"{path}: begins with {tables[-1].header!r}: {printable(why)}; expected {EXPECTED}"
        )
    if not ways[0].table.lines:
        raise SepconError(f"{path}: holds no label, only its header; expected {EXPECTED}")
    return ways[0]


def _match_rows(
    columns: LabelColumns, names: FileNames, folder: str | Path, *, allow_missing: bool
) -> tuple[list[tuple[Path, int]], set[str]]:
    """Returns the files of the rows, each with the number of the row, and names without a file."""
    table, cells = columns.table, columns.table.cells(columns.file)
    times = [table.cells_or_empty(column) for column in columns.segment or ()]
    rows: list[tuple[Path, int]] = []
    missing: dict[str, int] = {}
    written: dict[tuple[Path, str], tuple[object, str]] = {}
    for number, name in enumerate(cells):
        line = f"{table.path}: line {table.lines[number]} names {name!r}"
        try:
            match = names.find(name)
            if match is None and times:
                match = names.find_segment(name, times[0][number], times[1][number])
        except AmbiguousNameError as error:
            raise SepconError(
                f"{line}, which is in {folder} more than once: "
                f"{printable(' or '.join(os.path.relpath(path, folder) for path in error.paths))};"
                " give paths relative to that folder"
            ) from None
        if match is None:
            missing.setdefault(name, number)
            continue
        for kind, said in (("folders", match.prefix), ("ending", match.ending)):
            other = written.setdefault((match.path, kind), (said, name)) if said else (said, name)
            if other[0] != said:
                raise SepconError(
                    f"{line} and another one {other[1]!r}; of both only "
                    f"{printable(os.path.relpath(match.path, folder))} may be meant; give paths "
                    f"relative to {folder}"
                )
        rows.append((match.path, number))
    if missing and ("" in missing or not rows or not allow_missing):
        raise _no_such_files(columns, missing, len(set(cells)), folder)
    return rows, set(missing)


def _no_such_files(
    columns: LabelColumns, missing: dict[str, int], total: int, folder: str | Path
) -> SepconError:
    name, number = next(iter(missing.items()))
    return SepconError(
        f"{columns.table.path}: line {columns.table.lines[number]} names {name!r}, which is not in "
        f"{folder}; {len(missing)} of the {total} names in column {columns.file.name} are not; "
        "give paths relative to that folder, or take out the lines whose files are gone"
    )


def _labels_of_rows(columns: LabelColumns) -> list[tuple[str, ...]]:
    """Returns the labels of each row."""
    table = columns.table
    try:
        if not columns.is_one_hot:
            (column,) = columns.labels
            cells = table.cells(column)
            return split_labels(column.key, cells, is_freesound=columns.is_freesound)
        names = [clean(column.name) for column in columns.labels]
        check_labels([names])
        if len(set(names)) < len(names):
            raise BadLabelsError(0, "has two columns for one class; keep one of them")
        has_class = [list(map(is_on, table.cells(column))) for column in columns.labels]
        return [
            tuple(name for name, on in zip(names, row, strict=True) if on)
            for row in zip(*has_class, strict=True)
        ]
    except BadLabelsError as error:
        line = "its header" if columns.is_one_hot else f"line {table.lines[error.row]}"
        raise SepconError(f"{table.path}: {line} {error}") from None


def _one_of_each(
    columns: LabelColumns,
    column: Column | None,
    rows: Sequence[tuple[Path, int]],
    folder: str | Path,
) -> dict[str, str]:
    """Returns what a column says of each file, by its name, where it says something.

    Raises:
      SepconError: two rows of a file say different things.
    """
    said: dict[str, str] = {}
    if column is None:
        return said
    cells = columns.table.cells_or_empty(column)
    for path, number in rows:
        if cells[number] and cells[number].casefold() not in NO_VALUE:
            name = str(path.relative_to(folder))
            other = said.setdefault(name, cells[number])
            if other != cells[number]:
                raise SepconError(
                    f"{columns.table.path}: line {columns.table.lines[number]} says "
                    f"{column.name} {cells[number]!r} of {printable(name)}, another line {other!r};"
                    " a file has one"
                )
    return said


def _summary(labels: Labels) -> str:
    names, files = labels.class_names, len(labels.paths)
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    text = f"{files} files, {len(names)} class{'' if len(names) == 1 else 'es'} ({some})"
    originals = len(set(labels.groups.values()))
    return f"{text}, {originals} original recordings" if originals else text


def _doubts(labels: Labels, several: Mapping[Path, set[str]], num_paths: int) -> Iterator[str]:
    """Yields what is meant so or is a mistake, a line each.

    Args:
      labels: what was read.
      several: the labels of files that have different ones in several rows.
      num_paths: files in the folder.
    """
    if num_paths > len(labels.paths):
        yield f"{num_paths - len(labels.paths)} files that it does not name are left out"
    empty = [path for path, found in zip(labels.paths, labels.numbers, strict=True) if not found]
    if empty:
        yield f"{len(empty)} files without a label are left out, such as {empty[0].name}"
    if several:
        path, found = next(iter(several.items()))
        yield (
            f"{len(several)} files have other labels in another row, and all of them count, such "
            f"as {path.name}: {', '.join(sorted(found))}"
        )
