"""The description of an encoder beside its weights: enough to rebuild it without its recipe."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import keras

from sepcon.audio.maps.log_mel_maps import FrontEnd, read_front_end
from sepcon.errors import SepconError, one_line
from sepcon.models import weights
from sepcon.models.batch_norm import plain_json
from sepcon.models.model_file import MODEL_FILE, read_description
from sepcon.models.packaged import folder_of
from sepcon.runs.run_folder import write_model_file

_KIND = "encoder"
Network = TypeVar("Network", covariant=True)


class Described(Protocol[Network]):
    """What can be built by its description."""

    def build(self) -> Network:
        """Returns it with fresh random weights."""


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is, without its weights.

    Attributes:
      encoder: the functional Keras model as its own JSON.
      log_mel: the front-end it was trained with.
      patch_seconds: the length of what it sees.
    """

    encoder: str
    log_mel: FrontEnd
    patch_seconds: float

    def build(self) -> keras.Model:
        """Returns the encoder with fresh random weights.

        Raises:
          SepconError: what describes it is damaged.
        """
        return rebuilt(self.encoder)

    def to_json(self) -> str:
        """Returns the content of model.json."""
        return json.dumps({"kind": _KIND, **self.fields()}, indent=1)

    def fields(self) -> dict[str, Any]:
        """Returns the same as JSON-able values; what is not used is left out."""
        log_mel = dataclasses.asdict(self.log_mel)
        log_mel = {name: value for name, value in log_mel.items() if value is not None}
        return {**dataclasses.asdict(self), "log_mel": log_mel}


def rebuilt(encoder: str) -> keras.Model:
    """Returns the network that a functional Keras model's JSON describes, with random weights.

    Raises:
      SepconError: it is damaged.
    """
    try:
        return keras.models.model_from_json(encoder)
    # Keras has no exception of its own for it, and reports some damage by any that there is.
    except Exception as error:
        raise SepconError(
            f"{MODEL_FILE}: its description of the encoder is damaged or of another version of "
            f"Keras ({one_line(error)}); give the run as it was written"
        ) from error


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder with the weights of one state, and what is needed to feed it."""

    encoder: keras.Model
    log_mel: FrontEnd
    patch_seconds: float
    step: int
    config: EncoderConfig


def save_encoder_config(
    *, run_dir: str | Path, encoder: keras.Model, log_mel: FrontEnd, patch_seconds: float
) -> None:
    """Writes model.json into a pretraining run folder, whole or not at all.

    Args:
      run_dir: the run folder; made if it is not there.
      encoder: a functional Keras model of built-in layers.
      log_mel: its front-end.
      patch_seconds: the length of what it sees.

    Raises:
      SepconError: the folder describes another architecture.
    """
    config = EncoderConfig(plain_json(encoder), log_mel, float(patch_seconds))
    write_model_file(Path(run_dir) / MODEL_FILE, config.to_json())


def load_encoder_config(file: str | Path) -> EncoderConfig:
    """Reads a model.json.

    Raises:
      SepconError: the file is missing, damaged, or describes something that is no encoder.
    """
    return read_description(file, kind=_KIND, parse=parse_encoder)


def parse_encoder(fields: dict[str, Any]) -> EncoderConfig:
    """The description of an encoder among the fields of a model.json."""
    log_mel = read_front_end(fields["log_mel"])
    return EncoderConfig(fields["encoder"], log_mel, float(fields["patch_seconds"]))


def build_from(file: Path, config: Described[Network]) -> Network:
    """Returns the network that a model.json describes, with fresh random weights.

    Raises:
      SepconError: what describes it is damaged; the file is named.
    """
    try:
        return config.build()
    except SepconError as error:
        raise SepconError(f"{file.parent}: {error}") from error


def load_encoder(run_dir: str | Path, step: int | None = None) -> LoadedEncoder:
    """Rebuilds the encoder of a pretraining run with the weights of one of its states.

    Args:
      run_dir: run folder of `sepcon pretrain`, or a name of packaged weights.
      step: the state; the last one by default.

    Raises:
      SepconError: no such run or state, another kind of model, or damaged files.
    """
    run_dir = folder_of(run_dir)
    config = load_encoder_config(run_dir / MODEL_FILE)
    encoder = build_from(run_dir / MODEL_FILE, config)
    chosen = load_state(encoder, run_dir, step)
    return LoadedEncoder(encoder, config.log_mel, config.patch_seconds, chosen, config)


def load_state(encoder: keras.Model, run_dir: str | Path, step: int | None) -> int:
    """Reads the weights of one of the states of a pretraining run; returns its step.

    Args:
      encoder: gets them.
      run_dir: run folder of `sepcon pretrain`.
      step: the state; the last one by default.

    Raises:
      SepconError: no such state, or damaged files.
    """
    steps = weights.list_states(run_dir)
    if not steps:
        raise SepconError(f"{run_dir} has no saved state yet: let `sepcon pretrain` reach one.")
    chosen = steps[-1] if step is None else step
    if chosen not in steps:
        raise SepconError(f"{run_dir} has no state of step {step}; it has those of {steps}.")
    weights.read_weights(encoder, weights.state_folder(run_dir, chosen))
    return chosen
