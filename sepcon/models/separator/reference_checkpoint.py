"""Checkpoints of the reference implementation of MixIT, turned into run folders.

The reference is google-research/sound-separation, whose checkpoints TensorFlow 1 wrote.
"""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.errors import SepconError, one_line
from sepcon.models.separator.network import Separator, save_separator_config
from sepcon.models.separator.reference_weights import config_from_reference, load_reference_weights
from sepcon.models.weights import state_folder, write_weights
from sepcon.runs import run_folder
from sepcon.runs.claim import claimed

_NPZ_PREFIX = "var/"
_STEP = "global_step"
# What training keeps beside the weights: moments, their decay, averages, counters.
_TRAINING_ONLY = re.compile(
    r"(.*/)?(Adam(_\d+)?|RMSProp(_\d+)?|Momentum|ExponentialMovingAverage"
    r"|beta[12]_power(_\d+)?|global_step|learning_rate)"
)


@dataclasses.dataclass(frozen=True)
class ReferenceCheckpoint:
    """Variables by the reference's names, without `:0`.

    Attributes:
      variables: the weights.
      ignored: names of the variables that only training needs.
      step: how many steps it was trained for, 0 where it does not say.
    """

    variables: dict[str, np.ndarray]
    ignored: tuple[str, ...]
    step: int


def convert_reference_checkpoint(
    checkpoint: str | os.PathLike, run_dir: str | os.PathLike, **architecture: Any
) -> ReferenceCheckpoint | None:
    """Writes a run folder that `sepcon separate` takes.

    Args:
      checkpoint: see `read_reference_checkpoint`.
      run_dir: made; a finished run in it is left as it is.
      **architecture: of `config_from_reference`, for what no shape tells.

    Returns:
      What was converted, None if there was a finished run already.

    Raises:
      SepconError: the checkpoint cannot be read, holds another network, lacks a variable or has
        one too many, or the folder cannot be written.
    """
    read, folder = read_reference_checkpoint(checkpoint), Path(run_dir)
    try:
        config = config_from_reference(read.variables, **architecture)
        separator = Separator(config)
        load_reference_weights(separator, read.variables)
    except SepconError as error:
        raise SepconError(f"{checkpoint}: {error}") from None
    with claimed(folder):
        if run_folder.is_finished(folder):
            run_folder.tell_finished(folder)
            return None
        save_separator_config(config, folder)
        write_weights(separator, state_folder(folder, read.step))
        run_folder.finish(folder, {"steps": read.step, "converted_from": str(checkpoint)})
    return read


def read_reference_checkpoint(checkpoint: str | os.PathLike) -> ReferenceCheckpoint:
    """Reads the variables of a checkpoint.

    Args:
      checkpoint: prefix of a TensorFlow checkpoint or one of its files, a folder of checkpoints
        (the latest is taken), or an .npz file of arrays called `var/<name>`.

    Raises:
      SepconError: there is none, it is damaged, or it holds what is not a finite number.
    """
    path = Path(checkpoint)
    names, get = _open_npz(path) if path.suffix == ".npz" else _open_tensorflow(path)
    ignored = tuple(sorted(name for name in names if _TRAINING_ONLY.fullmatch(_bare(name))))
    wanted = sorted(set(names) - set(ignored))
    try:
        variables = {_bare(name): get(name) for name in wanted}
        step = next((int(get(name)) for name in ignored if _bare(name) == _STEP), 0)
    except (OSError, ValueError, TypeError, IndexError, *_DAMAGE) as error:
        raise SepconError(f"{path}: damaged checkpoint: {one_line(error)}") from None
    for name, value in variables.items():
        if value.dtype.kind != "f" or not np.isfinite(value).all():
            raise SepconError(f"{path}: variable {name} holds what is not a finite number")
    return ReferenceCheckpoint(variables, tuple(_bare(name) for name in ignored), max(0, step))


_DAMAGE = (tf.errors.OpError, zipfile.BadZipFile, EOFError)
_Opened = tuple[Iterable[str], Callable[[str], np.ndarray]]


def _bare(name: str) -> str:
    return name.removeprefix(_NPZ_PREFIX).removesuffix(":0")


def _open_npz(path: Path) -> _Opened:
    try:
        with np.load(path) as arrays:
            values = {name: arrays[name] for name in arrays if name.startswith(_NPZ_PREFIX)}
    except (OSError, ValueError, AttributeError, *_DAMAGE) as error:
        raise SepconError(f"{path}: cannot be read as .npz: {one_line(error)}") from None
    if not values:
        raise SepconError(f"{path}: no array is called {_NPZ_PREFIX}<name>")
    return values, values.__getitem__


def _open_tensorflow(path: Path) -> _Opened:
    prefix = tf.train.latest_checkpoint(str(path)) if path.is_dir() else str(path)
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", prefix or str(path))
    if not Path(f"{prefix}.index").is_file():
        raise SepconError(
            f"{path}: no checkpoint there; expected its prefix (the file PREFIX.index beside it), "
            "a folder with the file `checkpoint`, or an .npz file"
        )
    try:
        reader = tf.train.load_checkpoint(prefix)
    except (ValueError, IndexError, *_DAMAGE) as error:
        raise SepconError(f"{path}: cannot be read as a checkpoint: {one_line(error)}") from None
    return list(reader.get_variable_to_shape_map()), reader.get_tensor
