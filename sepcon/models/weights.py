"""A model's weights on disk: written whole or not at all, read only into the same architecture."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

from sepcon.errors import SepconError, one_line, write_error
from sepcon.models.compact_weights import COMPACT_FILE, read_compact
from sepcon.runs.json_file import DAMAGE
from sepcon.runs.whole_file import told_if_unwritable, whole_folder

_PREFIX = "weights"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def state_folder(run_dir: str | os.PathLike, step: int) -> Path:
    """Where a run keeps the weights it had at `step`."""
    return Path(run_dir) / "states" / f"step-{step:08d}"


def list_states(run_dir: str | os.PathLike) -> list[int]:
    """The steps whose weights a run has kept, in ascending order."""
    folders = (Path(run_dir) / "states").glob("step-*")
    matches = (re.fullmatch(r"step-(\d+)", folder.name) for folder in folders)
    return sorted(int(match.group(1)) for match in matches if match)


def write_weights(
    model: tf.Module, folder: str | os.PathLike, *, notes: Mapping[str, str] | None = None
) -> None:
    """Writes the weights of a model into a folder, replacing what is there in one step.

    Args:
      model: anything `tf.train.Checkpoint` can track.
      folder: created; no part of it is ever seen unfinished.
      notes: text files that stand beside the weights, by their names.

    Raises:
      WriteError: it cannot be written (no space, no permission); what was there stays.
      ValueError: the model holds variables that TensorFlow does not find.
    """
    folder = Path(folder)
    with whole_folder(folder) as scratch:
        try:
            stored = _shapes(tf.train.Checkpoint(model=model).write(str(scratch / _PREFIX)))
        except tf.errors.OpError as error:
            raise write_error(folder, error) from error
        _check_complete(model, stored)
        for name, text in (notes or {}).items():
            (scratch / name).write_text(text, encoding="utf-8")


def read_weights(model: tf.Module, folder: str | os.PathLike) -> None:
    """Reads weights of the same architecture, written by `write_weights` or `write_compact`.

    Raises:
      SepconError: there are none, they are damaged, or they are of another architecture; the
        message names the first variable that differs.
    """
    prefix = str(Path(folder) / _PREFIX)
    if not Path(f"{prefix}.index").is_file():
        if (Path(folder) / COMPACT_FILE).is_file():
            return read_compact(model, Path(folder) / COMPACT_FILE)
        raise SepconError(f"{folder}: no weights there; expected the file {_PREFIX}.index")
    try:
        status = tf.train.Checkpoint(model=model).read(prefix)
        status.assert_consumed()
    # IndexError, say: that is how TensorFlow tells of a file that ends too early.
    except (*DAMAGE, DecodeError, tf.errors.OpError) as error:
        difference = _first_difference(model, prefix) or one_line(error)
        raise SepconError(
            f"{folder}: weights do not fit the model: {difference}; "
            "give the model they were saved from"
        ) from error


def _check_complete(model: tf.Module, stored: dict[str, list[int]]) -> None:
    """Refuses a model of which a checkpoint keeps only a part, without a word of warning.

    That happens to Keras layers in a list that is an attribute of a layer.
    """
    num_variables = len(model.variables)
    if len(stored) < num_variables:
        raise ValueError(
            f"model: TensorFlow finds {len(stored)} of its {num_variables} variables; "
            "make every layer an attribute of its own, not part of a list"
        )


def _first_difference(model: tf.Module, prefix: str) -> str | None:
    """The first variable whose shape on disk is not what the model has, if there is one."""
    stored = _shapes(prefix)
    with told_if_unwritable(tempfile.gettempdir()), tempfile.TemporaryDirectory() as scratch:
        expected = _shapes(tf.train.Checkpoint(model=model).write(str(Path(scratch) / _PREFIX)))
    for name in sorted(stored.keys() | expected.keys()):
        if stored.get(name) != expected.get(name):
            got, wanted = stored.get(name, "nothing"), expected.get(name, "nothing")
            return f"variable {name} has shape {got}, expected {wanted}"
    return None


def _shapes(prefix: str) -> dict[str, list[int]]:
    try:
        shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    except (*DAMAGE, DecodeError, tf.errors.OpError):
        return {}
    return {name.removesuffix(_VALUE): s for name, s in shapes.items() if name.endswith(_VALUE)}
