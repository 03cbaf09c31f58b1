"""Labelled clips in folds, and how cross-validation deals them out.

The recordings of one fold are the test. Of the others some are held out for validation, whole
original recordings together, so that nothing is chosen by what was trained on or by the test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sepcon.data.clips import ClipDataset
from sepcon.data.held_out import hold_out_groups
from sepcon.errors import SepconError


@dataclasses.dataclass(frozen=True)
class FoldedClips:
    """Clips of one class each, in folds. What provides them for a data set needs nothing else.

    Attributes:
      clips: the clips, whose `class_names` are the classes.
      labels: integer [clips], the class of each.
      folds: the fold of each.
      groups: the original recording that each was cut from.
      excluded: integer [n], positions of clips that nothing is learned from, nor chosen or tested
        by. They are dealt out with the others, so that these are where they would be without.
      scores: float32 [clips, n], what a tagger says of each; None where that is not known.
    """

    clips: ClipDataset
    labels: np.ndarray
    folds: tuple[str, ...]
    groups: tuple[str, ...]
    excluded: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.labels), len(self.folds), len(self.groups), self.clips.num_clips}
        if len(sizes) > 1:
            raise ValueError(
                f"{self.clips.name}: labels, folds and groups must be as many as the "
                f"{self.clips.num_clips} clips"
            )

    @property
    def fold_names(self) -> tuple[str, ...]:
        """The folds present; numbers in their order."""
        return tuple(sorted(set(self.folds), key=lambda fold: (len(fold), fold)))


@dataclasses.dataclass(frozen=True)
class FoldSplit:
    """Positions of clips, integer [n] each: to learn from, to choose by, to test on."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_fold(
    folded: FoldedClips,
    fold: str,
    *,
    validation_share: float,
    seed: int,
    labels_per_class: int | None = None,
) -> FoldSplit:
    """Splits the clips into training, validation and test, for one test fold.

    A clip of another fold is left out if the test fold has a clip of the same original recording.

    Args:
      folded: the clips.
      fold: the test fold.
      validation_share: share, 0 to 1, of each class's clips in the other folds that is held out for
        validation, whole original recordings together.
      seed: decides, together with the fold, what is held out and which labels are kept.
      labels_per_class: clips of each class to learn from, all by default. The clips of a smaller
        number are a subset of those of a larger number.

    Returns:
      The positions of the clips in each part.

    Raises:
      SepconError: no such fold, or a class has nothing to learn from.
    """
    if fold not in folded.folds:
        raise SepconError(
            f"{folded.clips.name}: has no fold {fold}, only {', '.join(folded.fold_names)}"
        )
    if not 0 < validation_share < 1:
        raise SepconError(f"validation_share: got {validation_share}, expected above 0, below 1")
    groups = np.asarray(folded.groups)
    in_test = np.asarray(folded.folds) == fold
    rest = np.flatnonzero(~in_test & ~np.isin(groups, groups[in_test]))
    words = [seed, folded.fold_names.index(fold)]
    held = hold_out_groups(
        groups=folded.groups,
        by_class={label: rest[folded.labels[rest] == label] for label in np.unique(folded.labels)},
        share=validation_share,
        seed=[*words, 1],
    )
    held_out = np.isin(groups[rest], sorted(held))
    train = _limited(folded, rest[~held_out], labels_per_class, [*words, 2])
    split = FoldSplit(
        train,
        _without(rest[held_out], folded.excluded),
        _without(np.flatnonzero(in_test), folded.excluded),
    )
    for name, part in (("to choose by", split.validation), ("to test on", split.test)):
        if len(folded.excluded) and not len(part):
            raise SepconError(
                f"{folded.clips.name}: no clip {name} is left with test fold {fold}; exclude fewer"
            )
    return split


def _without(positions: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    return positions[~np.isin(positions, excluded)]


def _limited(
    folded: FoldedClips, train: np.ndarray, labels_per_class: int | None, seed: Sequence[int]
) -> np.ndarray:
    """The first few of each class in a random order that does not depend on how many."""
    if labels_per_class is not None and labels_per_class < 1:
        raise SepconError(f"labels_per_class: got {labels_per_class}, expected 1 or more, or None")
    rng = np.random.default_rng(list(seed))
    kept = []
    for label, name in enumerate(folded.clips.class_names):
        members = rng.permutation(train[folded.labels[train] == label])
        members = _without(members, folded.excluded)
        if not len(members):
            raise SepconError(f"{folded.clips.name}: no clip of {name} is left to learn from")
        kept.append(members[:labels_per_class])
    return np.sort(np.concatenate(kept))
