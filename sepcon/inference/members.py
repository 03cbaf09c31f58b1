"""Classifiers on disk: one, or all folds and seeds of a finetuning run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.models.classifier import load_classifier
from sepcon.models.model_file import MODEL_FILE
from sepcon.models.packaged import describe, folder_of
from sepcon.models.products.classification import ClassificationModel, classifier_fingerprint
from sepcon.models.products.found_model import find_model
from sepcon.models.products.saved_model import find_saved_model, load_serving_function
from sepcon.runs import run_folder


@dataclasses.dataclass(frozen=True)
class Member:
    """A classifier that was loaded.

    Attributes:
      function: waveform [batch, samples] float32 -> outputs with 'probabilities' [batch, classes];
        'patch_probabilities' [batch, patches, classes] and 'patch_time_seconds' [patches] too, but
        of exports of early versions.
      sample_rate_hz: the rate of the waveform.
      class_names: of the probabilities.
      card: what is known of it.
    """

    function: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    sample_rate_hz: int
    class_names: tuple[str, ...]
    card: dict[str, Any]


def find_members(model: str | Path) -> list[Path]:
    """Returns the models that a path means: itself, or all folds and seeds of a finetuning run.

    Raises:
      SepconError: there is none.
    """
    folder = folder_of(model)
    if find_saved_model(folder) is None and not (folder / MODEL_FILE).is_file():
        folds = sorted(folder.glob(f"seed*/fold*/{MODEL_FILE}"))
        finished = [path.parent for path in folds if run_folder.is_finished(path.parent)]
        if finished:
            return finished
    return [find_model(model, "classifier").folder]


def load_members(model: str | Path) -> list[Member]:
    """Loads all that `find_members` finds.

    Raises:
      SepconError: there is none, or one is another kind of model, or damaged.
    """
    return [load_member(path) for path in find_members(model)]


def load_member(path: Path, step: int | None = None) -> Member:
    """Loads a SavedModel, or the classifier of one fold and seed.

    Args:
      path: its folder.
      step: a state that the run keeps; by default the one that validation has chosen.

    Raises:
      SepconError: it is another kind of model, or damaged, or lacks the step.
    """
    found = find_model(path, "classifier", run_first=step is not None)
    if found.card is None:
        return _of_run(found.folder, step)
    if step not in (None, found.card["training_step"]):
        raise SepconError(
            f"{found.folder}: holds step {found.card['training_step']} alone, not {step}; give the "
            "run folder"
        )
    function = load_serving_function(found.folder)
    names = tuple(found.card["class_names"])
    return Member(function, found.card["sample_rate_hz"], names, dict(found.card))


def _of_run(folder: Path, step: int | None) -> Member:
    loaded = load_classifier(folder, step)
    config, names = loaded.config, loaded.config.class_names
    rate, patch_seconds = loaded.log_mel.sample_rate_hz, config.encoder.patch_seconds
    module = ClassificationModel(
        loaded.model, loaded.log_mel, patch_seconds=patch_seconds, class_names=names
    )
    hop = module.exact_hop_seconds
    card = {
        "kind": "classifier",
        "sample_rate_hz": rate,
        "patch_seconds": patch_seconds,
        "hop_seconds": hop,
        "class_names": list(names),
        "training_step": loaded.step,
        "fingerprint": classifier_fingerprint(config.to_json(), loaded.model, hop),
    }
    return Member(module, rate, names, describe(folder) | card)


def common_names(members: Sequence[Member]) -> tuple[str, ...]:
    """Returns the classes of classifiers that must have the same.

    Raises:
      SepconError: they differ.
    """
    names = members[0].class_names
    for member in members:
        if member.class_names != names:
            different = sorted(set(names) ^ set(member.class_names))
            raise SepconError(
                f"the models differ in their classes ({', '.join(different[:3])}); give models of "
                "one data set"
            )
    return names
