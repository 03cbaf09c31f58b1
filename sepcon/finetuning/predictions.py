"""Predicted class probabilities of labelled clips: on disk, averaged over models, counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sepcon.errors import SepconError, one_line
from sepcon.runs.json_file import DAMAGE
from sepcon.runs.whole_file import write_arrays

_LARGEST = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model says of some clips.

    Attributes:
      ids: of the clips.
      labels: integer [clips], their classes.
      probabilities: float32 [clips, classes].
      step: of the training that the model comes from.
      embedding: float [clips, dim], of the encoder, which maps are drawn of; None in files of
        earlier versions, and where it is not kept. Stored with half the digits.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    step: int = 0
    embedding: np.ndarray | None = None

    @property
    def accuracy(self) -> float:
        """Share of the clips whose most probable class is theirs."""
        return float(np.mean(self.probabilities.argmax(axis=1) == self.labels))

    @property
    def cross_entropy(self) -> float:
        """Mean negative logarithm of the probability of the clip's class."""
        own = np.take_along_axis(self.probabilities, self.labels[:, np.newaxis], axis=1)
        return float(-np.log(np.maximum(own, 1e-12)).mean())

    def confusion(self) -> np.ndarray:
        """Counts clips, integer [class, most probable class]."""
        num_classes = self.probabilities.shape[1]
        counts = np.zeros((num_classes, num_classes), np.int64)
        np.add.at(counts, (self.labels, self.probabilities.argmax(axis=1)), 1)
        return counts

    def save(self, path: Path) -> None:
        """Writes them whole or not at all.

        Raises:
          WriteError: they cannot be written; what was there stays.
        """
        arrays = {
            "ids": np.array(self.ids),
            "labels": self.labels,
            "probabilities": self.probabilities,
            "step": np.array(self.step),
        }
        if self.embedding is not None:
            arrays["embedding"] = np.clip(self.embedding, -_LARGEST, _LARGEST).astype(np.float16)
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Reads what `save` wrote.

        Raises:
          SepconError: it is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                ids = tuple(str(name) for name in arrays["ids"])
                labels, probabilities = arrays["labels"], arrays["probabilities"]
                if labels.shape != (len(ids),) or probabilities.shape[:-1] != (len(ids),):
                    raise ValueError(f"{labels.shape} labels of {len(ids)} clips")
                embedding = arrays.get("embedding")
                return cls(ids, labels, probabilities, int(arrays["step"]), embedding)
        except DAMAGE as error:
            raise SepconError(
                f"{path}: holds no predictions ({one_line(error)}); give a finished run of "
                "`sepcon finetune`"
            ) from error


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """The mean of the probabilities of several models on the same clips.

    Raises:
      SepconError: they speak of different clips.
    """
    first = members[0]
    for other in members[1:]:
        if other.ids != first.ids or not np.array_equal(other.labels, first.labels):
            raise SepconError(
                "an ensemble needs predictions of the same clips; give runs on the same data set "
                "and folds"
            )
    mean = np.mean([member.probabilities for member in members], axis=0)
    return dataclasses.replace(first, probabilities=mean)
