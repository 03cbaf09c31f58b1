"""A classifier, or the mean of several, behind one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sepcon.inference.members import Member, common_names
from sepcon.inference.waveform import mono

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Classification:
    """The classes of a recording, or of several of one length, which add a batch axis.

    Attributes:
      class_names: of what follows.
      probabilities: [classes] float32, which sum to 1.
      patch_probabilities: [patches, classes] float32; None of exports of early versions, and where
        the members of an ensemble cut a recording differently.
      start_seconds: [patches] float32, where each patch starts; None with them.
    """

    class_names: tuple[str, ...]
    probabilities: Floats
    patch_probabilities: Floats | None
    start_seconds: Floats | None

    def top(self, count: int = 5) -> list[Any]:
        """Returns the most probable classes as (name, probability); of a batch a list for each."""
        if self.probabilities.ndim == 2:
            return [self._top(row, count) for row in self.probabilities]
        return self._top(self.probabilities, count)

    def _top(self, probabilities: Floats, count: int) -> list[tuple[str, float]]:
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [(self.class_names[place], float(probabilities[place])) for place in order]


@dataclasses.dataclass(frozen=True, repr=False)
class Classifier:
    """Names the class of recordings; made by `sepcon.load`.

    Attributes:
      name: what it was loaded by.
      members: one classifier, or those whose mean probability counts.
    """

    name: str
    members: Sequence[Member]

    @property
    def card(self) -> dict[str, Any]:
        """What is known of it, of an ensemble of its first member."""
        return self.members[0].card

    @property
    def sample_rate_hz(self) -> int:
        """The rate that it hears; recordings of other rates are resampled."""
        return self.members[0].sample_rate_hz

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return common_names(self.members)

    def classify(self, waveform: Any, *, sample_rate_hz: int) -> Classification:
        """Names the classes of a recording, or of several of one length.

        Args:
          waveform: as `sepcon.inference.waveform.mono` takes it: array or tensor, float or integer;
            [samples], [samples, channels], [batch, samples] or [batch, samples, channels].
          sample_rate_hz: of the waveform.

        Raises:
          SepconError: the waveform or its rate is nothing of the kind.
        """
        outputs = []
        for member in self.members:
            rate = member.sample_rate_hz
            heard = mono(waveform, sample_rate_hz=sample_rate_hz, wanted_hz=rate)
            outputs.append(member.function(tf.constant(heard.waveform)))
        clips = np.mean([output["probabilities"].numpy() for output in outputs], axis=0)
        patches, start_seconds = _mean_of_patches(outputs)
        return Classification(
            self.class_names,
            heard.as_given(clips),
            None if patches is None else heard.as_given(patches),
            start_seconds,
        )

    def __repr__(self) -> str:
        members = f", the mean of {len(self.members)}" if len(self.members) > 1 else ""
        return (
            f"Classifier({self.name!r}): a waveform to {len(self.class_names)} classes, at "
            f"{self.sample_rate_hz} Hz{members}"
        )


def _mean_of_patches(
    outputs: Sequence[dict[str, tf.Tensor]],
) -> tuple[Floats | None, Floats | None]:
    """The mean probabilities [batch, patches, classes] and starts, of members that cut alike."""
    if any("patch_probabilities" not in output for output in outputs):
        return None, None
    starts = [output["patch_time_seconds"].numpy() for output in outputs]
    if any(not np.array_equal(start, starts[0]) for start in starts):
        return None, None
    patches = [output["patch_probabilities"].numpy() for output in outputs]
    return np.mean(patches, axis=0), starts[0]
