"""What a path that is given as a model holds: a run folder or a SavedModel, and of which kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepcon.errors import SepconError, printable
from sepcon.models.model_file import MODEL_FILE, VERB_OF_KIND, read_kind
from sepcon.models.packaged import folder_of, packaged_names
from sepcon.models.products.saved_model import find_saved_model, read_model_card


@dataclasses.dataclass(frozen=True)
class FoundModel:
    """A model on disk.

    Attributes:
      folder: the run folder or the SavedModel.
      kind: encoder, classifier or separator; None of a SavedModel that sepcon has not written.
      card: of a SavedModel of sepcon; None of others.
      is_saved_model: whether `folder` is a SavedModel and no run.
    """

    folder: Path
    kind: str | None
    card: Mapping[str, Any] | None = None
    is_saved_model: bool = False


def find_model(path: str | Path, *kinds: str, run_first: bool = False) -> FoundModel:
    """Says what a path, or a name of packaged weights, holds.

    A path means a run folder of the verb that trains; a SavedModel; or a folder with one in it, as
    `sepcon export` and `sepcon pretrain` leave it. Where a run folder holds an export too, that is
    taken.

    Args:
      path: the path or the name.
      kinds: which kinds of network are of use: some of encoder, classifier and separator. Where
        encoders are, SavedModels that sepcon has not written are too.
      run_first: takes a run folder before the export in it: a run has all its states.

    Raises:
      SepconError: it holds none of them, or is damaged.
    """
    folder = folder_of(path)
    candidates = [_run, _saved_model] if run_first else [_saved_model, _run]
    found = next((model for look in candidates if (model := look(folder))), None)
    first = kinds[0]
    cure = (
        f"give a run folder of `sepcon {VERB_OF_KIND[first]}`, or what `sepcon export` made of one"
    )
    name = printable(str(path))
    if found is None:
        there = "has neither" if folder.is_dir() else "is no folder: expected"
        middle = "nor" if folder.is_dir() else "or"
        packaged = [] if folder.is_dir() else packaged_names()
        names = f", or a name of packaged weights: {', '.join(packaged)}" if packaged else ""
        raise SepconError(
            f"{name} holds no {first}: it {there} {MODEL_FILE} {middle} a SavedModel; {cure}{names}"
        )
    if found.kind not in kinds and (found.kind is not None or "encoder" not in kinds):
        what = f"a network of kind {found.kind!r}" if found.kind else "a SavedModel of others"
        raise SepconError(f"{name} holds {what}, expected {first!r}; {cure}")
    return found


def _saved_model(folder: Path) -> FoundModel | None:
    saved_model = find_saved_model(folder)
    if saved_model is None:
        return None
    card = read_model_card(saved_model)
    # Cards of the first versions, which exported encoders alone, name no kind.
    kind = None if card is None else str(card.get("kind", "encoder"))
    return FoundModel(saved_model, kind, card, is_saved_model=True)


def _run(folder: Path) -> FoundModel | None:
    kind = read_kind(folder)
    return None if kind is None else FoundModel(folder, kind)
