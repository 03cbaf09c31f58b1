"""The networks of models on disk, with their weights: out of run folders and out of SavedModels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeVar

import keras
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.models.encoder_files import EncoderConfig, load_encoder, load_encoder_config
from sepcon.models.model_file import MODEL_FILE
from sepcon.models.products.found_model import find_model
from sepcon.models.products.saved_model import read_model_card
from sepcon.models.separator.network import (
    Separator,
    chosen_step,
    load_separator,
    load_separator_config,
)

Network = TypeVar("Network", bound=keras.Model)


class OpenedSeparator(NamedTuple):
    """A separator with its weights, and the training step that they are of."""

    network: Separator
    step: int


def load_network(model: str | Path) -> tuple[keras.Model, EncoderConfig]:
    """Loads the network of an encoder with its weights, and its description.

    Args:
      model: a run folder of `sepcon pretrain`, an export of one, or a name of packaged weights.

    Raises:
      SepconError: there is no such encoder, or it is damaged.
    """
    found = find_model(model, "encoder", run_first=True)
    if found.is_saved_model:
        return encoder_of_saved_model(found.folder)
    loaded = load_encoder(found.folder)
    return loaded.encoder, loaded.config


def encoder_of_saved_model(folder: Path) -> tuple[keras.Model, EncoderConfig]:
    """Builds the encoder of a SavedModel again, with its variables; and returns its description.

    Raises:
      SepconError: it is of others, of an early version, has a separator inside, or is damaged.
    """
    card = read_model_card(folder)
    if card is None:
        raise SepconError(
            f"{folder} holds a SavedModel of others, whose network nobody knows here; give an "
            "encoder of sepcon"
        )
    if "channels" in card:
        raise SepconError(
            f"{folder} holds a separator in front of its encoder, and is used as it is; give the "
            "encoder alone"
        )
    config = load_encoder_config(folder / "assets" / MODEL_FILE)
    return _with_variables(config.build(), folder), config


def open_separator(model: str | Path, step: int | None = None) -> OpenedSeparator:
    """Opens the network of a separator with its weights.

    Args:
      model: a run folder of `sepcon train_separator`, an export of one, or a name of packaged
        weights.
      step: a state that the run keeps, the last one by default; an export has only one.

    Raises:
      SepconError: there is no such separator, it lacks the step, or it is damaged.
    """
    found = find_model(model, "separator", run_first=True)
    if found.card is None:
        return OpenedSeparator(load_separator(found.folder, step), chosen_step(found.folder, step))
    own = int(found.card["training_step"])
    if step not in (None, own):
        raise SepconError(
            f"{found.folder}: holds step {own} alone, not {step}; give the run folder"
        )
    network = Separator(load_separator_config(found.folder / "assets"))
    return OpenedSeparator(_with_variables(network, found.folder), own)


def _with_variables(network: Network, folder: Path) -> Network:
    """Gives a network of fresh weights the variables of a SavedModel, and returns it."""
    variables = list(getattr(tf.saved_model.load(str(folder)), "_tf_variables", ()))
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [tuple(variable.shape) for variable in network.variables]:
        raise SepconError(
            f"{folder}: its {len(variables)} variables are not those of its {MODEL_FILE}; export "
            "the model again, or load the run folder"
        )
    for own, variable in zip(network.variables, variables, strict=True):
        own.assign(variable)
    return network
