"""`model.json`, which says of which kind a network is and how it is built, beside its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sepcon.errors import SepconError, printable
from sepcon.runs.json_file import read_json, told_if_damaged
from sepcon.runs.seals import check_seals

MODEL_FILE = "model.json"
# The verb whose runs hold each kind of network.
IMAGE_ENCODER = "image_encoder"
VERB_OF_KIND = {
    "encoder": "pretrain",
    IMAGE_ENCODER: "pretrain",
    "classifier": "finetune",
    "separator": "train_separator",
}
_ANY_RUN = "give the run_dir of the verb that trained the network, as it was written"

Config = TypeVar("Config")


def read_kind(run_dir: Path) -> str | None:
    """Returns which kind of network a run folder describes; None where it describes none.

    Raises:
      SepconError: the description is damaged.
    """
    path = run_dir / MODEL_FILE
    if not path.is_file():
        return None
    content = read_json(path, cure=_ANY_RUN)
    check_seals(run_dir, cure=_ANY_RUN)
    with told_if_damaged(path, cure=_ANY_RUN):
        return str(content["kind"])


def read_description(
    file: str | Path, *, kind: str, parse: Callable[[dict[str, Any]], Config]
) -> Config:
    """Reads a model.json of some kind.

    Args:
      file: the model.json.
      kind: what it must describe.
      parse: makes the description of the fields.

    Raises:
      SepconError: the file is missing, damaged, or describes something else.
    """
    path, cure = Path(file), _cure(kind)
    if not path.is_file():
        raise SepconError(
            f"{printable(str(path.parent))} holds no {kind} of `sepcon {VERB_OF_KIND[kind]}`: it "
            f"has no {path.name}; {cure}"
        )
    fields = read_json(path, cure=cure)
    # A changed number would build another network, or feed it otherwise, and nobody would see it.
    check_seals(path.parent, cure=cure)
    with told_if_damaged(path, cure=cure):
        found = fields["kind"]
        if found != kind:
            raise SepconError(f"{path} describes a {found!r}, expected {kind!r}; {cure}")
        try:
            return parse(fields)
        except SepconError as error:
            raise SepconError(f"{path}: {error}") from error


def _cure(kind: str) -> str:
    return f"give the run_dir of `sepcon {VERB_OF_KIND[kind]}`"
