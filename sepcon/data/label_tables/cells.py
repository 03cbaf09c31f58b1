"""The labels in the cells of a column."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Sequence

# What tables say, by way of other programs, for a cell that is empty.
NO_VALUE = frozenset(["nan", "<na>", "#n/a", "n/a", "null", "nat"])
_PLURALS_LINE = """
    labels labelnames categories classes classnames classlabels eventlabels scenelabels
    positivelabels genres tags mids targets
"""
_PLURALS = frozenset(_PLURALS_LINE.split())
_TAGS = frozenset(["tag", "tags"])


class BadLabelsError(Exception):
    """A cell cannot be understood.

    Attributes:
      row: its number, from 0.
    """

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def split_labels(key: str, cells: Sequence[str], *, is_freesound: bool) -> list[tuple[str, ...]]:
    """Splits the cells of a column into labels.

    Labels are separated by `;` or `|`. Where no cell of the column has one of those, a comma
    without a space behind it separates labels too, as in FSD50K; a comma with a space may be part
    of a label, as in AudioSet ("Male speech, man speaking"). A cell may also be a list in the
    notation of Python or JSON.

    Args:
      key: name of the column, in small letters and digits only.
      cells: of the column.
      is_freesound: whether labels are the tags of Freesound, which are separated by spaces.

    Returns:
      The labels of each cell.

    Raises:
      BadLabelsError: a cell may be one label or several, or is no label.
    """
    lists = [_list(row, cell) for row, cell in enumerate(cells)]
    texts = [cell if found is None else "" for cell, found in zip(cells, lists, strict=True)]
    separator = _separator(key, texts, is_freesound)
    labels = [
        _cleaned(re.split(separator, text) if separator else [text])
        if found is None
        else _cleaned(found)
        for text, found in zip(texts, lists, strict=True)
    ]
    check_labels(labels)
    if not separator:
        _check_commas(labels)
    return labels


def check_labels(labels: Sequence[Sequence[str]]) -> None:
    """Refuses labels that are probably mistakes, among them two spellings of the same label.

    Args:
      labels: of each row.

    Raises:
      BadLabelsError: a label stands for a missing value, has a line break in it, or looks like
        another one: only capitals, space or letters that are not shown differ.
    """
    spellings: dict[str, str] = {}
    for row, names in enumerate(labels):
        for name in names:
            if name.casefold() in NO_VALUE:
                raise BadLabelsError(
                    row,
                    f"has the label {name!r}, which is what programs write for none; leave "
                    "the cell empty or call the class by another name",
                )
            if len(name.splitlines()) > 1:
                raise BadLabelsError(
                    row, f"has the label {name!r} with a line break; is a quote open?"
                )
            other = spellings.setdefault(_as_seen(name), name)
            if other != name:
                raise BadLabelsError(
                    row,
                    f"has the label {name!r} and a line above {other!r}; write a class in one way",
                )


def clean(label: str) -> str:
    """Returns a label without space around it, in the Unicode normal form NFC."""
    return unicodedata.normalize("NFC", label).strip()


def _cleaned(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(clean, labels))))


def _as_seen(name: str) -> str:
    """A label without what the eye may miss: capitals, space, letters that are not shown."""
    shown = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return " ".join(shown.casefold().split())


def _list(row: int, cell: str) -> list[str] | None:
    """The labels of a cell that is a list, `['dog', 'rain']` or `[dog, rain]`; else None."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    try:
        labels = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        labels = [label.strip().strip("'\"") for label in cell[1:-1].split(",")]
    if not all(isinstance(label, str | int | float) for label in labels):
        raise BadLabelsError(row, f"has {cell!r}, expected a list of labels")
    return [str(label) for label in labels]


def _separator(key: str, cells: Sequence[str], is_freesound: bool) -> str:
    """What stands between two labels of a column, a regular expression; empty for nothing."""
    with_comma = [row for row, cell in enumerate(cells) if "," in cell]
    tight = [row for row in with_comma if re.search(r",\S", cells[row])]
    loose = [row for row in with_comma if re.search(r",\s", cells[row])]
    if any(";" in cell or "|" in cell for cell in cells):
        if tight:
            raise BadLabelsError(tight[0], _is_one_or_several(cells[tight[0]]))
        return r"[;|]"
    if loose and (tight or key in _PLURALS):
        raise BadLabelsError(loose[0], _is_one_or_several(cells[loose[0]]))
    if tight:
        return ","
    with_space = [row for row, cell in enumerate(cells) if len(cell.split()) > 1]
    if key in _TAGS and with_space and not loose:
        if not is_freesound:
            raise BadLabelsError(with_space[0], _is_one_or_several(cells[with_space[0]]))
        return r"\s+"
    return ""


def _check_commas(labels: Sequence[Sequence[str]]) -> None:
    """Refuses "dog, cat" where dog or cat is a label too."""
    classes = {name for names in labels for name in names}
    for row, names in enumerate(labels):
        for name in names:
            if "," in name and any(part.strip() in classes for part in name.split(",")):
                raise BadLabelsError(row, _is_one_or_several(name))


def _is_one_or_several(cell: str) -> str:
    return f"has {cell!r}: one label or several? Write ; between labels, and nothing else"
