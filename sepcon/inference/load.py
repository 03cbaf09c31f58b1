"""`sepcon.load`: a trained model by its name or path, as an object that knows what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from sepcon.errors import SepconError
from sepcon.inference.classifier import Classifier
from sepcon.inference.encoder import Encoder, open_encoder
from sepcon.inference.members import find_members, load_member
from sepcon.inference.separator import Separator
from sepcon.models.model_file import VERB_OF_KIND
from sepcon.models.packaged import describe
from sepcon.models.products.found_model import FoundModel, find_model
from sepcon.separation.recording_separator import load_recording_separator

Kind = Literal["separator", "encoder", "classifier"]


@overload
def load(
    model: str | Path, kind: Literal["separator"], *, step: int | None = None
) -> Separator: ...
@overload
def load(model: str | Path, kind: Literal["encoder"], *, step: int | None = None) -> Encoder: ...
@overload
def load(
    model: str | Path, kind: Literal["classifier"], *, step: int | None = None
) -> Classifier: ...
@overload
def load(
    model: str | Path, kind: None = None, *, step: int | None = None
) -> Separator | Encoder | Classifier: ...


def load(
    model: str | Path, kind: Kind | None = None, *, step: int | None = None
) -> Separator | Encoder | Classifier:
    """Loads a trained model.

    Args:
      model: a name of packaged weights (`sepcon list weights`), or a path: the run folder of
        `sepcon train_separator`, `pretrain` or `finetune` (whole, whose folds and seeds then count
        together, or one of them), or a SavedModel that these or `sepcon export` have written.
      kind: what it must be; given, a type checker knows what comes back.
      step: a state that a run folder keeps; by default the last one, of a classifier the one that
        validation has chosen.

    Returns:
      What it is: a `Separator`, an `Encoder` or a `Classifier`.

    Raises:
      SepconError: there is no such model, it is of another kind or damaged, or lacks the step.
    """
    name = str(model)
    if kind not in (None, *VERB_OF_KIND):
        raise SepconError(f"kind: got {kind!r}, expected one of {', '.join(VERB_OF_KIND)}")
    if kind in (None, "classifier"):
        members = _members(model, alone=kind is not None)
        if members:
            return Classifier(name, [load_member(path, step) for path in members])
    kinds = (kind,) if kind else ("encoder", "separator", "classifier")
    found = find_model(model, *kinds, run_first=step is not None)
    return _opened(name, found, model, step)


def _members(model: str | Path, *, alone: bool) -> list[Path]:
    """The classifiers that a path means; none where something else may be meant, and is."""
    try:
        return find_members(model)
    except SepconError:
        if alone:
            raise
        return []


def _opened(
    name: str, found: FoundModel, model: str | Path, step: int | None
) -> Separator | Encoder:
    if found.kind == "separator":
        recordings = load_recording_separator(model, step=step)
        facts = {
            "kind": "separator",
            "sample_rate_hz": recordings.sample_rate_hz,
            "num_sources": recordings.num_sources,
            "training_step": recordings.step,
            "fingerprint": recordings.fingerprint,
        }
        known = describe(found.folder) if found.card is None else dict(found.card)
        return Separator(name, recordings, known | facts)
    if found.kind == "encoder":
        return open_encoder(name, found, step)
    raise SepconError(
        f"{name} holds a SavedModel of others, whose sample rate and outputs nobody knows here; "
        "open it with sepcon.embeddings.foreign.saved_model"
    )
