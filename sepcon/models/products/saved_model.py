"""The SavedModel folders that `sepcon export` writes: where they are, their card, their call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from sepcon.errors import SepconError, one_line
from sepcon.runs.json_file import DAMAGE, read_json, told_if_damaged
from sepcon.runs.seals import check_seals

SAVED_MODEL_FOLDER = "saved_model"
MODEL_CARD_FILE = "model_card.json"
CLASS_MAP_FILE = "class_map.csv"
_GRAPH_FILE = "saved_model.pb"


def find_saved_model(model: str | Path) -> Path | None:
    """Returns the SavedModel that a path means: itself, or one in it; None if there is none."""
    folder = Path(model)
    for candidate in (folder, folder / SAVED_MODEL_FOLDER):
        if (candidate / _GRAPH_FILE).is_file():
            return candidate
    return None


def read_model_card(folder: Path) -> dict[str, Any] | None:
    """Returns the model card of a SavedModel; None for one that was not written by sepcon.

    Raises:
      SepconError: it is damaged.
    """
    card_file = folder / "assets" / MODEL_CARD_FILE
    if not card_file.is_file():
        return None
    card = read_json(card_file, cure="export the model again")
    with told_if_damaged(card_file, cure="export the model again"):
        str(card["fingerprint"]), int(card["sample_rate_hz"])
    return card


def load_serving_function(folder: Path) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Opens a SavedModel: waveform [batch, samples] -> its outputs by name.

    Raises:
      SepconError: it cannot be read, has no signature 'serving_default', or one of several inputs.
    """
    return load_callable(folder, "serving_default")[0]


def load_callable(folder: Path, signature: str | None) -> tuple[Callable[[tf.Tensor], Any], bool]:
    """Opens a SavedModel of one input, the waveform.

    Args:
      folder: the SavedModel.
      signature: which; None takes the object itself where it can be called, and
        'serving_default' else.

    Returns:
      The call, and whether it takes [batch, samples] and not [samples].

    Raises:
      SepconError: it cannot be read, has no such signature, or several inputs.
    """
    check_seals(folder, cure="export the model again")
    try:
        loaded = tf.saved_model.load(str(folder))
        own = _rank_of_call(loaded) if signature is None else None
        if own is not None:
            return loaded, own == 2
        name = signature or "serving_default"
        specs = loaded.signatures[name].structured_input_signature[1]
    # A damaged graph or damaged variables: TensorFlow has many exceptions for them.
    except (*DAMAGE, DecodeError, tf.errors.OpError) as error:
        raise SepconError(
            f"{folder} cannot be read as a SavedModel with a signature "
            f"'{signature or 'serving_default'}': {one_line(error)}"
        ) from error
    if len(specs) != 1:
        raise SepconError(f"{folder}: expected one input, the waveform, found {list(specs)}.")
    [(argument, spec)] = specs.items()

    def call(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        # `loaded` is named here to keep it alive: its functions hold its variables only weakly.
        return loaded.signatures[name](**{argument: waveform})

    return call, spec.shape.rank != 1


def _rank_of_call(loaded: Any) -> int | None:
    """Number of axes of the waveform that an object takes when called; None if it cannot be."""
    functions = getattr(getattr(loaded, "__call__", None), "concrete_functions", ())  # noqa: B004
    first = [function.structured_input_signature[0][:1] for function in functions]
    ranks = {
        spec.shape.rank
        for arguments in first
        for spec in arguments
        if isinstance(spec, tf.TensorSpec)
    }
    return next((rank for rank in (2, 1) if rank in ranks), None)
