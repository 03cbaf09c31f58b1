"""Weights in half precision in one compressed file: half of a checkpoint, for packages and mails.

Arrays stand in the order of the model's variables, as `get_weights` has it, each with the name of
its variable: that holds for every Keras 3, while the names inside a checkpoint change with it.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.errors import SepconError, one_line
from sepcon.runs.json_file import DAMAGE
from sepcon.runs.whole_file import whole_file

COMPACT_FILE = "weights.npz"


def write_compact(model: Any, folder: str | os.PathLike) -> Path:
    """Writes the weights of a Keras model into folder/weights.npz.

    Arrays of two axes or more become float16; vectors, such as the statistics of a normalisation,
    stay as they are, as they are few and matter more.

    Args:
      model: with `variables`.
      folder: made if it is not there.

    Raises:
      ValueError: a weight is too large for float16.
      WriteError: it cannot be written.
    """
    arrays: dict[str, Any] = {
        _name(number, variable): _halved(variable.numpy(), variable.name)
        for number, variable in enumerate(model.variables)
    }
    path = Path(folder) / COMPACT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as scratch, open(scratch, "wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def read_compact(model: Any, file: Path) -> None:
    """Reads weights written by `write_compact` into a model of the same architecture.

    Raises:
      SepconError: the file is damaged, or of another architecture; then the model is as it was, and
        the message names the first variable that differs.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        raise SepconError(f"{file}: is damaged ({one_line(error)}); take it anew") from error
    variables = {_name(number, each): each for number, each in enumerate(model.variables)}
    for name in sorted(stored.keys() | variables.keys()):
        got = list(stored[name].shape) if name in stored else "nothing"
        expected = list(variables[name].shape) if name in variables else "nothing"
        if got != expected:
            raise SepconError(
                f"{file}: weights do not fit the model: variable {name} has shape {got}, expected "
                f"{expected}; give the model they were saved from"
            )
    for name, variable in variables.items():
        variable.assign(stored[name].astype(variable.dtype))


def _name(number: int, variable: Any) -> str:
    return f"{number:04d}/{variable.name}"


def _halved(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim < 2 or array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(f"{name}: has weights beyond float16, up to {np.abs(array).max():g}")
    return half
