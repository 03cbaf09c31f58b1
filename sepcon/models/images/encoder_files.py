"""The description of an encoder of images beside its weights, and such an encoder as a start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from sepcon.errors import SepconError
from sepcon.models.batch_norm import plain_json
from sepcon.models.encoder_files import build_from, load_state, rebuilt
from sepcon.models.encoder_input import is_input_normalisation
from sepcon.models.model_file import IMAGE_ENCODER, MODEL_FILE, read_description
from sepcon.runs.run_folder import write_model_file

_CURE = "bind ENCODER, with its sizes, as the start was made with it"


@dataclass(frozen=True)
class ImageEncoderConfig:
    """What an encoder of images is, without its weights.

    Attributes:
      encoder: the functional Keras model as its own JSON.
      image_size: height and width of what it sees.
    """

    encoder: str
    image_size: int

    def build(self) -> keras.Model:
        """Returns the encoder with fresh random weights.

        Raises:
          SepconError: what describes it is damaged.
        """
        return rebuilt(self.encoder)

    def to_json(self) -> str:
        """Returns the content of model.json."""
        fields = {"encoder": self.encoder, "image_size": self.image_size}
        return json.dumps({"kind": IMAGE_ENCODER, **fields}, indent=1)


def save_image_encoder_config(
    *, run_dir: str | Path, encoder: keras.Model, image_size: int
) -> None:
    """Writes model.json into a pretraining run folder, whole or not at all.

    Args:
      run_dir: the run folder; made if it is not there.
      encoder: image [batch, height, width, 3] -> embedding [batch, dim].
      image_size: height and width of what it sees.

    Raises:
      SepconError: the folder describes another network.
    """
    config = ImageEncoderConfig(plain_json(encoder), image_size)
    write_model_file(Path(run_dir) / MODEL_FILE, config.to_json())


def load_image_encoder(run_dir: str | Path, step: int | None = None) -> keras.Model:
    """Rebuilds the encoder of a pretraining run on images with the weights of one of its states.

    Args:
      run_dir: run folder of `sepcon pretrain`.
      step: the state; the last one by default.

    Raises:
      SepconError: no such run or state, another kind of model, or damaged files.
    """
    config = read_description(Path(run_dir) / MODEL_FILE, kind=IMAGE_ENCODER, parse=_parse)
    encoder = build_from(Path(run_dir) / MODEL_FILE, config)
    load_state(encoder, run_dir, step)
    return encoder


def _parse(fields: dict[str, Any]) -> ImageEncoderConfig:
    return ImageEncoderConfig(fields["encoder"], int(fields["image_size"]))


def take_body(encoder: keras.Model, source: keras.Model) -> None:
    """Gives an encoder the weights of another of the same kind that sees something else.

    All layers with weights are taken in their order, but for the normalisation of the input, which
    stays as it is: bands of sound are no colours. Where the source sees three channels and the
    encoder one, that one gets the sum of the three kernels: it then computes what the source would
    of three equal channels.

    Args:
      encoder: takes the weights.
      source: has them.

    Raises:
      SepconError: they are of different architecture.
    """
    to_fill, to_copy = (_body(each) for each in (encoder, source))
    # By their names: of a file, a layer may be that of Keras where this package has its own.
    kinds = [[type(layer).__name__ for layer in layers] for layers in (to_fill, to_copy)]
    if kinds[0] != kinds[1]:
        raise SepconError(
            f"the start has {len(to_copy)} layers with weights, {encoder.name} has {len(to_fill)}, "
            f"or they are of other kinds; {_CURE}"
        )
    for layer, other in zip(to_fill, to_copy, strict=True):
        own, given = layer.weights, other.get_weights()
        layer.set_weights(
            [_fitted(tuple(w.shape), g, layer.name) for w, g in zip(own, given, strict=True)]
        )


def _body(encoder: keras.Model) -> list[keras.layers.Layer]:
    return [
        layer for layer in encoder.layers if layer.weights and not is_input_normalisation(layer)
    ]


def _fitted(shape: tuple[int, ...], weight: np.ndarray, name: str) -> np.ndarray:
    if weight.ndim == 4 and shape == (*weight.shape[:2], 1, weight.shape[3]):
        return weight.sum(axis=2, keepdims=True)
    if shape != weight.shape:
        raise SepconError(
            f"layer {name} has shape {weight.shape} in the start, expected {shape}; {_CURE}"
        )
    return weight
