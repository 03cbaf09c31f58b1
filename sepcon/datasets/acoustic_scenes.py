"""Data sets of acoustic scenes in their official layouts: DCASE 2018 and LITIS Rouen."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepcon.errors import SepconError, one_line
from sepcon.importing.clip_source import (
    MISSING,
    NOT_IN_TABLE,
    ClipReference,
    ClipSource,
    FileReader,
    without_duplicates,
)

_DCASE_ROOTS = (
    "",
    "TUT-urban-acoustic-scenes-2018-development",
    "TUT-urban-acoustic-scenes-2018-mobile-development",
)
_META = "meta.csv"
_SETUP = "evaluation_setup"
# Lists of the official division, and what the clips in them are for.
_LISTS = {"fold1_train": "train", "fold1_evaluate": "test", "fold1_test": "test"}
DCASE_CLASSES = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
_LITIS_AUDIO, _LITIS_TABLE = "data_rouen", "relation_wav_examples.txt"
_LITIS_LISTS = {
    "train": "fold3026-matrices_Learn.txt",
    "test": "fold3026-matrices_Test.txt",
}


def dcase2018_scenes(*, path: str) -> ClipSource:
    """Returns the development set of DCASE 2018, task 1, subtask A or B, in the order of its table.

    TUT Urban Acoustic Scenes 2018 (Mesaros et al., 2018): segments of 10 s of ten classes. The
    folds are the official division, "train" and "test"; the original recording is the place
    (`identifier`), of which no other part has any segment.

    Args:
      path: the folder with `meta.csv`, `audio/` and `evaluation_setup/`, or that above it.

    Raises:
      SepconError: it is not such a folder, or a row is malformed.
    """
    given = Path(path).expanduser()
    root = next((given / name for name in _DCASE_ROOTS if (given / name / _META).is_file()), None)
    if root is None:
        raise SepconError(
            f"{given}: is no folder of DCASE 2018 scenes, {_META} is missing; expected that, "
            f"audio/ and {_SETUP}/, as in the official release"
        )
    folds = _dcase_folds(root)
    rows = _lines(root / _META)
    if not rows or rows[0][:3] != ["filename", "scene_label", "identifier"]:
        raise SepconError(
            f"{root / _META}: begins with {rows[0] if rows else 'nothing'}, expected the columns "
            "filename, scene_label, identifier, with tabs between them"
        )
    references = [
        _dcase_reference(root, number, row, folds) for number, row in enumerate(rows[1:], start=2)
    ]
    name = "dcase2018_mobile" if "mobile" in root.resolve().name else "dcase2018"
    return ClipSource(name, DCASE_CLASSES, without_duplicates(references), FileReader(root))


def _dcase_reference(
    root: Path, number: int, row: Sequence[str], folds: Mapping[str, str]
) -> ClipReference:
    try:
        file, label, place = (cell.strip() for cell in row[:3])
        numbers = (DCASE_CLASSES.index(label),)
    except ValueError:
        raise SepconError(
            f"{root / _META}: line {number} is no row of DCASE 2018 ({row}); expected a file, one "
            f"of {', '.join(DCASE_CLASSES)}, and a place"
        ) from None
    fold = folds.get(Path(file).name, "")
    reason = "" if fold else NOT_IN_TABLE
    return ClipReference(
        id=Path(file).name,
        source=file,
        labels=numbers,
        group=place,
        fold=fold,
        reason=reason if (root / file).is_file() else MISSING,
    )


def _dcase_folds(root: Path) -> dict[str, str]:
    """File -> "train" or "test"."""
    folds: dict[str, str] = {}
    for name, fold in _LISTS.items():
        for ending in (".txt", ".csv"):
            path = root / _SETUP / f"{name}{ending}"
            if not path.is_file():
                continue
            for row in _lines(path):
                file = Path(row[0].strip()).name
                if file == "filename":  # Some releases have a header.
                    continue
                if folds.setdefault(file, fold) != fold:
                    raise SepconError(
                        f"{path}: {file} is in another list of {_SETUP} too; get it again"
                    )
    if set(folds.values()) != {"train", "test"}:
        raise SepconError(
            f"{root / _SETUP}: has no lists of training and test; expected fold1_train and "
            "fold1_evaluate, as in the official release"
        )
    return folds


def _lines(path: Path) -> list[list[str]]:
    """The rows of a table with tabs."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return [row for row in csv.reader(text.splitlines(), delimiter="\t") if row]
    except (OSError, ValueError, csv.Error) as error:
        raise SepconError(
            f"{path}: is no table ({one_line(error)}); unpack the data set again"
        ) from error


def litis_rouen(*, path: str, rotation: int = 1) -> ClipSource:
    """Returns the clips of LITIS Rouen by the names of their files.

    Rakotomamonjy and Gasso, 2015: 3,026 clips of 30 s of nineteen classes, which the names of the
    files begin with. There are twenty official divisions into "train" and "test"; an import has one
    of them as its folds.

    Args:
      path: the folder with `data_rouen/`, `relation_wav_examples.txt` and the two lists of its
        divisions.
      rotation: number of the division, from 1 to 20.

    Raises:
      SepconError: it is not such a folder, or there is no such division.
    """
    root = Path(path).expanduser()
    numbers = _litis_numbers(root / _LITIS_TABLE)
    folds: dict[int, str] = {}
    for fold, name in _LITIS_LISTS.items():
        for number in _litis_division(root / name, rotation):
            if number not in numbers or folds.setdefault(number, fold) != fold:
                raise SepconError(
                    f"{root / name}: line {rotation} has the number {number}, which is "
                    f"{'in both lists' if number in numbers else f'not in {_LITIS_TABLE}'}; "
                    "unpack the data set again"
                )
    labels = {file: _litis_label(file) for file in numbers.values()}
    class_names = tuple(sorted(set(labels.values())))
    references = [
        ClipReference(
            id=file,
            source=f"{_LITIS_AUDIO}/{file}",
            labels=(class_names.index(labels[file]),),
            fold=folds.get(number, ""),
            reason=_litis_reason(root, file, number in folds),
        )
        for number, file in sorted(numbers.items(), key=lambda item: item[1])
    ]
    return ClipSource(
        "litis_rouen",
        class_names,
        without_duplicates(references),
        FileReader(root),
        settings=f"division {rotation}",
    )


def _litis_reason(root: Path, file: str, in_division: bool) -> str:
    if not (root / _LITIS_AUDIO / file).is_file():
        return MISSING
    return "" if in_division else NOT_IN_TABLE


def _litis_label(file: str) -> str:
    """What the name of a file begins with, up to its number."""
    found = re.match(r"(.*?)[-_ ]*\d+$", Path(file).stem)
    if found is None or not found[1]:
        raise SepconError(
            f"{_LITIS_TABLE}: {file} has no class and number in its name; unpack again"
        )
    return found[1].lower()


def _litis_numbers(path: Path) -> dict[int, str]:
    """Number of a clip -> its file; spaces or tabs are between them."""
    found: dict[int, str] = {}
    for place, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            file, number = line.split()
            found[int(float(number))] = file
        except ValueError:
            raise SepconError(
                f"{path}: line {place} is {line.strip()!r}, expected a file and its number"
            ) from None
    return found


def _litis_division(path: Path, rotation: int) -> list[int]:
    lines = [line for line in _read_lines(path) if line.strip()]
    if not 1 <= rotation <= len(lines):
        raise SepconError(
            f"litis_rouen.rotation is {rotation}, expected 1 to {len(lines)}, the lines of {path}"
        )
    try:
        return [int(float(number)) for number in lines[rotation - 1].split()]
    except ValueError as error:
        raise SepconError(
            f"{path}: line {rotation} holds no numbers ({one_line(error)}); unpack again"
        ) from error


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise SepconError(
            f"{path}: cannot be read ({one_line(error)}); expected {_LITIS_AUDIO}/, {_LITIS_TABLE} "
            f"and {', '.join(_LITIS_LISTS.values())}, as in the official release"
        ) from error
