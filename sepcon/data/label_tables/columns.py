"""Which columns of a table hold the file, the labels, the original recording and the fold.

The columns are found by their names, in the spellings of ESC-50, UrbanSound8K, FSD50K and the
Kaggle challenges, AudioSet, DCASE and Freesound. Where the names are not clear, the table is
refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from sepcon.audio.formats import AUDIO_ENDINGS
from sepcon.data.tables import Column, Table


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# All are compared in small letters without anything between them: File_Name is filename.
_FILES = _words(
    """
    filename filenames file files fname filepath path relativepath fullpath audio audiofile
    audiofilename audiofilepath audiopath wav wavfile wavpath slicefilename soundfile clip
    clipname clipfilename segmentid
    """
)
# These name the file where no column of the first kind is there, and files are called by them.
_IDS = _words(
    """
    id name title ytid youtubeid videoid freesoundid fsid soundid clipid fileid audioid itemid
    sampleid recordingid recording key uri
    """
)
_LABELS = _words(
    """
    label labels labelname labelnames category categories class classes classname classnames
    classlabel classlabels eventlabel eventlabels scenelabel scenelabels scene positivelabels
    displayname genre genres emotion species
    """
)
_TAGS = _words("tag tags")
# Numbers or machine ids of classes, where no column has their names.
_LABEL_IDS = _words("target targets classid labelid categoryid classindex labelindex mid mids")
_GROUPS = _words(
    """
    source sources sourcefile srcfile sourceid sourcerecording group groups groupid original
    originalfile originalid originalrecording
    """
)
_GROUP_IDS = _words("identifier freesoundid fsid recordingid recording ytid youtubeid videoid")
_FOLDS = _words("fold folds foldid foldnumber cvfold")
_SPLITS = _words("split splits subset set partition datasplit")
_STARTS = _words("start startseconds starttime starttimeseconds")
_ENDS = _words("end endseconds endtime endtimeseconds")
# Other columns of these data sets. Where a column stands for each class, these are none.
_OTHERS = _words(
    """
    index unnamed0 onset offset duration seconds salience take esc10 manuallyverified verified
    curated noisysmall license username user description sourcelabel device city url tags rate
    numchannels filesize samplerate
    """
)
_NO_CLASS = _words("train training test testing val valid validation dev eval evaluation")
_NUMBERED_LABEL = re.compile(r"(?:label|labels|class|category|tag)\d+")
_ON, _OFF = frozenset(["1", "1.0", "true"]), frozenset(["0", "0.0", "false"])

EXPECTED = (
    "a header with a column of files (filename, file, fname, path, ...) and one of labels (label, "
    "labels, category, class, tags, ...) or a column of 0 and 1 for each class, and, if known, "
    "source and fold or split"
)


class UnclearColumnsError(Exception):
    """The names of the columns do not say what they hold; the message says why, in a few words."""


FindFile = Callable[[str], Path | None]


@dataclasses.dataclass(frozen=True)
class LabelColumns:
    """The columns of a table of labels.

    Attributes:
      table: the table.
      file: names the file of each row.
      labels: holds the labels; with `is_one_hot`, there is a column for each class.
      is_one_hot: whether the cells of `labels` are 0 and 1.
      group: names the original recording, where there is such a column.
      fold: names the fold or split, where there is such a column.
      segment: start and end in seconds, where files are called by them, as in AudioSet.
      is_freesound: whether tags are those of Freesound, words with space between them.
      has_header: whether the columns have names; else their numbers stand for them.
    """

    table: Table
    file: Column
    labels: tuple[Column, ...]
    is_one_hot: bool = False
    group: Column | None = None
    fold: Column | None = None
    segment: tuple[Column, Column] | None = None
    is_freesound: bool = False
    has_header: bool = True

    def __str__(self) -> str:
        labels = ", ".join(column.name for column in self.labels[:3])
        if len(self.labels) > 3:
            labels += f" and {len(self.labels) - 3} more"
        text = f"files from column {self.file.name}, labels from column {labels}"
        if not self.has_header:
            text = f"without a header, {text}"
        if self.group:
            text += f", original recordings from column {self.group.name}"
        if self.fold:
            text += f", folds from column {self.fold.name}"
        return text


def find_columns(table: Table, find_file: FindFile) -> LabelColumns:
    """Finds the columns of a table with a header.

    Args:
      table: the table.
      find_file: returns the file of a name, None if there is none or several.

    Returns:
      The columns.

    Raises:
      UnclearColumnsError: the names do not say which they are.
    """
    file = _file_column(table, find_file)
    others = [column for column in table.columns if column != file]
    numbered = [column.name for column in others if _NUMBERED_LABEL.fullmatch(column.key)]
    if numbered:
        raise UnclearColumnsError(
            f"the labels of a file stand in several columns ({', '.join(numbered)}); write them "
            "into one, with ; between them"
        )
    group = _first_of(others, (_GROUPS, _GROUP_IDS), "the original recording")
    fold = _first_of(others, (_FOLDS, _SPLITS), "the fold")
    known = {file, group, fold}
    label = _label_column(table, others)
    labels = (label,) if label else _class_columns(table, [c for c in others if c not in known])
    start, end = (_first_of(others, (names,), "a time") for names in (_STARTS, _ENDS))
    keys = {column.key for column in table.columns}
    return LabelColumns(
        table=table,
        file=file,
        labels=labels,
        is_one_hot=label is None,
        group=group,
        fold=fold,
        segment=(start, end) if start and end and file.key in _IDS else None,
        is_freesound=file.key in _IDS or bool(keys & {"username", "license", "freesoundid"}),
    )


def find_columns_without_header(table: Table, find_file: FindFile) -> LabelColumns | None:
    """Finds the columns of a table without a header, which must be the file and the label.

    A third column is taken for the original recording, as in DCASE, if the table is separated by
    tabs and each value of that column goes with one label only.

    Args:
      table: the table.
      find_file: as in `find_columns`.

    Returns:
      The columns; None if the first line does not begin with the name of a file.

    Raises:
      UnclearColumnsError: it does, but the meaning of the other columns is not clear.
    """
    file, *others = table.columns
    first = table.cells(file)[0]
    if not find_file(first) and not first.lower().endswith(tuple(AUDIO_ENDINGS)):
        return None
    is_dcase = len(others) == 2 and table.delimiter == "\t" and _refines(table, *others)
    if not others:
        raise UnclearColumnsError("it has one column and no labels")
    if len(others) != 1 and not is_dcase:
        raise UnclearColumnsError(
            f"it has no header, and what its {len(table.columns)} columns are is not known; put a "
            "line with their names on top, such as filename,label,source"
        )
    if all(map(find_file, table.cells(others[0]))):
        raise UnclearColumnsError("it has no header, and both columns name files; give it one")
    if {cell.casefold() for cell in table.cells(others[0])} <= _NO_CLASS:
        raise UnclearColumnsError(
            "it has no header, and its second column seems to be a split; give it one"
        )
    group = others[1] if is_dcase else None
    return LabelColumns(table, file, (others[0],), group=group, has_header=False)


def _refines(table: Table, labels: Column, groups: Column) -> bool:
    pairs = set(zip(table.cells(labels), table.cells_or_empty(groups), strict=True))
    return len({label for label, _ in pairs}) < len({group for _, group in pairs}) == len(pairs)


def _file_column(table: Table, find_file: FindFile) -> Column:
    for names in (_FILES, _IDS):
        columns = [column for column in table.columns if column.key in names]
        if len(columns) > 1:
            return _matching(table, columns, find_file)
        if columns:
            return columns[0]
    raise UnclearColumnsError("no column is called by a name for files")


def _matching(table: Table, columns: Sequence[Column], find_file: FindFile) -> Column:
    """Of several columns that may name the files, the one that does."""
    files = {c: [find_file(cell) for cell in table.cells_or_empty(c)] for c in columns}
    files = {column: paths for column, paths in files.items() if any(paths)}
    names = ", ".join(column.name for column in files or columns)
    if not files:
        raise UnclearColumnsError(f"none of the columns {names} names a file that is there")
    if any(len({*row} - {None}) > 1 for row in zip(*files.values(), strict=True)):
        raise UnclearColumnsError(f"the columns {names} name different files; keep one of them")
    return max(files, key=lambda column: sum(path is not None for path in files[column]))


def _label_column(table: Table, columns: Sequence[Column]) -> Column | None:
    for names in (_LABELS, _TAGS, _LABEL_IDS):
        found = [column for column in columns if column.key in names]
        if len(found) > 1:
            found = _same_classes(table, found)
        if found:
            return found[0]
    return None


def _same_classes(table: Table, columns: Sequence[Column]) -> list[Column]:
    """Of columns that number and name the same classes, that with the names."""
    cells = [table.cells(column) for column in columns]
    rows = set(zip(*cells, strict=True))
    named = {tuple(column) for column in cells if not _are_numbers(column)}
    if len(named) > 1 or any(len(set(column)) != len(rows) for column in cells):
        raise UnclearColumnsError(
            f"the columns {', '.join(column.name for column in columns)} say different labels; "
            "keep one of them"
        )
    ranked = sorted(zip(columns, cells, strict=True), key=lambda pair: _are_numbers(pair[1]))
    return [ranked[0][0]]


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(cell.lstrip("-").replace(".", "", 1).isdigit() for cell in cells)


def _class_columns(table: Table, columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of a table that has one for each class."""
    known = _OTHERS | _GROUPS | _GROUP_IDS | _FOLDS | _SPLITS | _IDS | _STARTS | _ENDS
    classes = [column for column in columns if column.key not in known and column.name]
    if len(classes) < 2 or not table.lines:
        raise UnclearColumnsError("no column is called by a name for labels")
    for column in classes:
        cells = {cell.casefold() for cell in table.cells(column)}
        if not cells <= _ON | _OFF or column.key in _NO_CLASS:
            raise UnclearColumnsError(
                f"no column is called by a name for labels, and {column.name} is no class with "
                "0 and 1 in its cells"
            )
    return tuple(classes)


def is_on(cell: str) -> bool:
    """Whether a cell of a table with one column per class says that the class is present."""
    return cell.casefold() in _ON


def _first_of(
    columns: Sequence[Column], kinds: Sequence[frozenset[str]], what: str
) -> Column | None:
    for names in kinds:
        found = [column for column in columns if column.key in names]
        if len(found) > 1:
            raise UnclearColumnsError(
                f"several columns may name {what} ({', '.join(column.name for column in found)}); "
                "keep one of them"
            )
        if found:
            return found[0]
    return None
