"""What was heard in a recording that is separated: of the mixture, and of each of its channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sepcon.inference.sounds.patch_scores import PatchScorer, PatchScores
from sepcon.inference.sounds.segments import (
    Segment,
    SegmentRule,
    find_segments,
    level_db,
    mean_probabilities,
    patch_bounds,
)
from sepcon.runs.names import path_inside
from sepcon.separation.separated_folder import LIST_FILE, RECORD_FILE

MIXTURE = "mixture"


@dataclasses.dataclass(frozen=True)
class HeardTrack:
    """A mixture or a channel.

    Attributes:
      name: "mixture", or what the file of the channel is called, without its ending.
      level_db: of its loudest patch, relative to the loudest patch of all channels; -inf for
        silence.
      probabilities: [classes] float64 of all patches that are loud enough; None where none is: it
        is left out.
      segments: when which class sounds.
    """

    name: str
    level_db: float
    probabilities: npt.NDArray[np.float64] | None
    segments: Sequence[Segment]


@dataclasses.dataclass(frozen=True)
class HeardRecording:
    """A recording.

    Attributes:
      path: of its file.
      folder: the folder with its channels.
      entry: what separated.json says of it.
      class_names: of all probabilities.
      rule: by which segments were found.
      tracks: the mixture, then the channels.
    """

    path: str
    folder: Path
    entry: Mapping[str, Any]
    class_names: tuple[str, ...]
    rule: SegmentRule
    tracks: Sequence[HeardTrack]

    @property
    def num_left_out(self) -> int:
        """How many channels are too quiet."""
        return sum(track.probabilities is None for track in self.tracks[1:])

    @property
    def num_segments(self) -> int:
        """Of the mixture and all channels."""
        return sum(len(track.segments) for track in self.tracks)


def hear_recording(
    entry: Mapping[str, Any],
    root: Path,
    *,
    scorer: PatchScorer,
    rule: SegmentRule,
    on_seconds: Callable[[float], object],
) -> HeardRecording:
    """Classifies the mixture and the channels of a recording.

    Args:
      entry: what separated.json lists of it.
      root: the output folder of the separation.
      scorer: the classifiers.
      rule: see there.
      on_seconds: called with the seconds of sound that are done since the last call; those of the
        mixture and of each channel count.

    Raises:
      AudioError: the recording or a channel cannot be decoded.
    """
    folder = path_inside(root, entry["folder"], source=root / LIST_FILE)
    channels = [
        path_inside(folder, name, source=folder / RECORD_FILE) for name in entry["channels"]
    ]
    paths = {MIXTURE: entry["recording"]} | {path.stem: path for path in channels}
    scores = {name: scorer.score(path, on_seconds) for name, path in paths.items()}
    loudest = max(scores[path.stem].power.max() for path in channels)
    tracks = [_heard(name, of_track, loudest, scorer, rule) for name, of_track in scores.items()]
    return HeardRecording(
        entry["recording"], folder, entry, tuple(scorer.class_names), rule, tracks
    )


def _heard(
    name: str, scores: PatchScores, loudest: float, scorer: PatchScorer, rule: SegmentRule
) -> HeardTrack:
    """What was heard in one track, where the loudest patch of all channels has that power."""
    levels = level_db(scores.power, reference=loudest)
    audible = (levels >= rule.min_level_db) & (scores.power > 0)
    if not audible.any():
        return HeardTrack(name, float(levels.max()), None, ())
    bounds = patch_bounds(
        scores.start_seconds, patch_seconds=scorer.patch_seconds, seconds=scores.seconds
    )
    segments = find_segments(
        scores.probabilities.mean(axis=0, dtype=np.float64),
        bounds=bounds,
        audible=audible,
        class_names=scorer.class_names,
        rule=rule,
    )
    whole = mean_probabilities(scores.probabilities, audible)
    return HeardTrack(name, float(levels.max()), whole, segments)
