"""From probabilities of patches to segments: when which class sounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sepcon.errors import SepconError

# Times are sums of floats: a gap of exactly the length that is allowed is closed.
_ROUNDING_SECONDS = 1e-6
_LEAST_PROBABILITY = 1e-37


@dataclasses.dataclass(frozen=True)
class SegmentRule:
    """When a class counts as sounding.

    A patch stands for the time around its middle, up to half way to the middles of its neighbours.
    A class sounds in a patch that is loud enough and gives it at least the threshold. Patches of
    one class that follow one another are a segment, gaps up to a length are closed, and then
    segments that are too short are dropped.

    Attributes:
      min_level_db: a patch so far below the loudest patch of all channels of the recording counts
        as silent; below 0.
      threshold: probability, above 0 and at most 1.
      max_gap_seconds: gaps up to this length are closed; 0 for none.
      min_seconds: shorter segments are dropped, unless they fill the recording.

    Raises:
      SepconError: a value is out of its range.
    """

    min_level_db: float = -30.0
    threshold: float = 0.5
    max_gap_seconds: float = 1.0
    min_seconds: float = 0.25

    def __post_init__(self) -> None:
        expected = {
            "min_level_db": (-math.inf < self.min_level_db < 0, "some dB below 0, such as -30"),
            "threshold": (0 < self.threshold <= 1, "a probability above 0, such as 0.5"),
            "max_gap_seconds": (0 <= self.max_gap_seconds < math.inf, "seconds, or 0"),
            "min_seconds": (0 <= self.min_seconds < math.inf, "seconds, or 0"),
        }
        for name, (valid, wanted) in expected.items():
            if not valid:
                raise SepconError(f"{name}: got {getattr(self, name):g}, expected {wanted}")


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of a sound in which a class sounds.

    Attributes:
      start_seconds: where it begins.
      end_seconds: where it ends.
      class_name: which class.
      probability: the mean over its patches that reach the threshold.
    """

    start_seconds: float
    end_seconds: float
    class_name: str
    probability: float


def level_db(power: npt.ArrayLike, *, reference: float) -> npt.NDArray[np.float64]:
    """Returns powers in dB relative to another.

    Args:
      power: [...], not negative.
      reference: the power of 0 dB; with 0, all that sounds is infinitely louder.

    Returns:
      [...] float64; -inf for a power of 0.
    """
    power = np.asarray(power, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = 10 * np.log10(power / reference)
    return np.where(power > 0, levels, -np.inf)


def mean_probabilities(
    probabilities: npt.NDArray[np.float32], audible: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Returns the probabilities of a whole sound, as a classifier gives them for a recording.

    Those are the softmax of the mean of the logits of its patches. A softmax forgets what is added
    to all logits of a patch, so that logarithms of probabilities serve as logits.

    Args:
      probabilities: [members, patches, classes].
      audible: [patches], which of them count; at least one.

    Returns:
      [classes] float64, the mean over the members; they sum to 1.
    """
    logits = np.log(np.maximum(probabilities[:, audible].astype(np.float64), _LEAST_PROBABILITY))
    scores = logits.mean(axis=1)  # [members, classes]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (scores / scores.sum(axis=1, keepdims=True)).mean(axis=0)


def patch_bounds(
    start_seconds: npt.NDArray[np.float64], *, patch_seconds: float, seconds: float
) -> npt.NDArray[np.float64]:
    """Returns the times that patches stand for.

    Args:
      start_seconds: [patches], where they begin, ascending.
      patch_seconds: how long each is.
      seconds: length of the recording.

    Returns:
      [patches + 1]: patch k stands for the time from bound k to bound k + 1. The first begins at 0,
      the last ends with the recording, and the others meet half way between two middles.
    """
    middles = start_seconds + patch_seconds / 2
    return np.concatenate([[0.0], (middles[:-1] + middles[1:]) / 2, [seconds]])


def find_segments(
    probabilities: npt.NDArray[np.floating],
    *,
    bounds: npt.NDArray[np.float64],
    audible: npt.NDArray[np.bool_],
    class_names: Sequence[str],
    rule: SegmentRule,
) -> list[Segment]:
    """Joins patches to segments.

    Args:
      probabilities: [patches, classes].
      bounds: [patches + 1], see `patch_bounds`.
      audible: [patches], which of them are loud enough.
      class_names: of the probabilities.
      rule: see there.

    Returns:
      All segments, by their beginning, of those that begin together the most probable first.
      Segments of different classes may overlap.
    """
    active = (probabilities >= rule.threshold) & audible[:, np.newaxis]  # [patches, classes]
    least = min(rule.min_seconds, bounds[-1]) - _ROUNDING_SECONDS
    segments = []
    for number in np.flatnonzero(active.any(axis=0)).tolist():
        for first, end in _runs(active[:, number], bounds, rule.max_gap_seconds):
            if bounds[end] - bounds[first] < least:
                continue
            reaching = probabilities[first:end, number][active[first:end, number]]
            segments.append(
                Segment(
                    float(bounds[first]),
                    float(bounds[end]),
                    class_names[number],
                    float(reaching.mean(dtype=np.float64)),
                )
            )
    return sorted(segments, key=lambda each: (each.start_seconds, -each.probability))


def _runs(
    active: npt.NDArray[np.bool_], bounds: npt.NDArray[np.float64], max_gap_seconds: float
) -> list[tuple[int, int]]:
    """Runs of active patches, [first, end), with the short gaps between them closed."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    runs: list[tuple[int, int]] = []
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and bounds[first] - bounds[runs[-1][1]] <= max_gap_seconds + _ROUNDING_SECONDS:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))
    return runs
