"""The weights that come with the package, by name; see weights/README.md.

Each is a run folder in small: model.json, the weights of one state in half precision, and a model
card. Whatever takes the path of a run takes such a name too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import sepcon
from sepcon.errors import SepconError
from sepcon.models.model_file import MODEL_FILE
from sepcon.runs.json_file import read_json

CARD_FILE = "model_card.json"
# What is used where nobody says which.
DEFAULTS = {"separator": "separator-v1", "encoder": "encoder-v1", "classifier": "classifier-v1"}


def weights_folder() -> Path:
    """Where the packaged weights are."""
    return Path(sepcon.__file__).parent / "weights"


def packaged_names() -> list[str]:
    """The names of all packaged weights."""
    return sorted(path.parent.name for path in weights_folder().glob(f"*/{MODEL_FILE}"))


def folder_of(model: str | os.PathLike) -> Path:
    """Returns the folder that a path means, or a name of packaged weights.

    A folder of the same name goes first: it is what the user sees.
    """
    folder = Path(model).expanduser()
    if not folder.exists() and os.fspath(model) in packaged_names():
        return weights_folder() / os.fspath(model)
    return folder


def describe(folder: Path) -> dict[str, Any]:
    """Returns the model card of packaged weights; nothing of other run folders.

    Raises:
      SepconError: the card is damaged.
    """
    card = folder / CARD_FILE
    return read_json(card, cure="install sepcon again") if card.is_file() else {}


def default_weights(kind: str) -> str:
    """Returns the name of the packaged weights that are used where nobody says which.

    Raises:
      SepconError: this installation has none of this kind.
    """
    name = DEFAULTS[kind]
    if name not in packaged_names():
        raise SepconError(
            f"no {kind} is given, and none comes with this installation; give its path"
        )
    return name


def tell_weights(model: str | Path) -> None:
    """Says on standard error in one line which packaged weights are used; nothing of a path."""
    folder = folder_of(model)
    if folder.parent == weights_folder():
        print(f"sepcon: {folder.name}: {describe(folder)['summary']}", file=sys.stderr)
