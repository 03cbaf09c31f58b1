"""The recipe of the sound scenes: which recordings, how loud, when. Pure numpy.

A scene is a function of (recipe, split, index) and of the recordings alone, so scenes can be made
in any order, one at a time or by several processes, and always come out the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.held_out import hold_out_groups
from sepcon.errors import SepconError

SPLITS = ("train", "validation", "test")
_FRAME_SAMPLES = 400
_ACTIVE_DB = -30.0
_SILENT_DB = -60.0
# Peak of a scene that had to be turned down: far enough below 32767 for rounded sources to fit.
_CEILING = 32000.0


@dataclasses.dataclass(frozen=True)
class SceneRecipe:
    """How scenes are mixed and how many; any change gives a data set of its own.

    Attributes:
      scene_seconds: length of every scene.
      num_train: training scenes.
      num_validation: validation scenes.
      num_test: test scenes.
      max_sources: a scene holds 1 to this many sources, each number as likely.
      gain_db: lowest and highest gain of a source; uniform between.
      source_rms: RMS of a source's active frames before its gain, 1.0 being full scale.
      visible_share: a source is heard for at least this share of the scene, or in full when it is
        shorter. Below 1, long sources too begin and end at random times.
      test_fold: the fold whose recordings are kept for the test scenes; None takes the highest.
      test_share: share of the recordings kept for the test where clips come without folds.
      validation_share: share of the remaining recordings kept for validation.
      synthetic_clips_per_class: how many events of each class the built-in generator makes.
      seed: of the split and of every scene.
    """

    scene_seconds: float = 10.0
    num_train: int = 3000
    num_validation: int = 500
    num_test: int = 800
    max_sources: int = 4
    gain_db: tuple[float, float] = (-5.0, 5.0)
    source_rms: float = 0.1
    visible_share: float = 0.6
    test_fold: int | None = None
    test_share: float = 0.2
    validation_share: float = 0.17
    synthetic_clips_per_class: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.scene_seconds >= 0.025, "scene_seconds", self.scene_seconds, "0.025 or more")
        _require(self.max_sources >= 1, "max_sources", self.max_sources, "1 or more")
        low, high = self.gain_db
        _require(low <= high, "gain_db", self.gain_db, "(lowest, highest)")
        _require(0 < self.source_rms <= 1, "source_rms", self.source_rms, "above 0, at most 1")
        _require(
            0 < self.visible_share <= 1, "visible_share", self.visible_share, "above 0, at most 1"
        )
        for name in ("test_share", "validation_share"):
            share = getattr(self, name)
            _require(0 < share < 1, name, share, "between 0 and 1")
        for name in ("num_train", "num_validation", "num_test"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")

    @property
    def scene_samples(self) -> int:
        """Samples of a scene."""
        return round(self.scene_seconds * SAMPLE_RATE_HZ)

    def num_scenes(self, split: str) -> int:
        """Scenes of `split`."""
        return {"train": self.num_train, "validation": self.num_validation, "test": self.num_test}[
            split
        ]


def _require(condition: bool, argument: str, got: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"SceneRecipe.{argument}: got {got}, expected {expected}")


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Labelled recordings to mix from.

    Attributes:
      class_names: the classes.
      ids: a name for each recording.
      groups: what a recording was cut from; recordings of one group never part.
      folds: the fold of each recording, or 0 where there are none.
      labels: class numbers of each recording.
      audio: the samples of a recording, int16 [samples] at 16 kHz.
      identity: a digest of the recordings, so that scenes of others are never taken for these.
    """

    class_names: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    folds: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    audio: Callable[[int], np.ndarray]
    identity: str = ""


@dataclasses.dataclass(frozen=True)
class Scene:
    """One mixed scene.

    Attributes:
      mixture: int16 [samples], to the bit the sum of `sources`.
      sources: int16 [source, samples], one row per source present.
      labels: classes heard, ascending.
      recordings: number of the recording behind each source.
      gains_db: gain of each source.
      onsets: sample at which each recording begins; negative when it began before the scene.
    """

    mixture: np.ndarray
    sources: np.ndarray
    labels: tuple[int, ...]
    recordings: tuple[int, ...]
    gains_db: tuple[float, ...]
    onsets: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Activity:
    """Where a recording sounds.

    Attributes:
      start: first sample of the part that is not silent.
      stop: one past its last sample.
      active: first samples of the 25 ms frames within 30 dB of the loudest one.
      rms: RMS over those frames, 1.0 being full scale.
    """

    start: int
    stop: int
    active: np.ndarray
    rms: float


def activity(audio: np.ndarray) -> Activity | None:
    """Finds where a recording is not silent, and how loud it is there.

    The active part goes from the first to the last frame within 60 dB of the loudest frame. The
    level is measured over the frames within 30 dB of it, so that a bark followed by four seconds of
    silence has the same level as rain.

    Args:
      audio: [samples] int16.

    Returns:
      The active part; None if every sample is zero.
    """
    num_frames = -(-len(audio) // _FRAME_SAMPLES)
    frames = np.zeros(num_frames * _FRAME_SAMPLES, np.float64)
    frames[: len(audio)] = audio / 32768.0
    power = np.mean(np.square(frames.reshape(num_frames, _FRAME_SAMPLES)), axis=1)
    loudest = power.max(initial=0.0)
    if loudest == 0.0:
        return None
    active = np.flatnonzero(power >= loudest * 10 ** (_ACTIVE_DB / 10))
    heard = np.flatnonzero(power >= loudest * 10 ** (_SILENT_DB / 10))
    return Activity(
        start=int(heard[0]) * _FRAME_SAMPLES,
        stop=min(len(audio), (int(heard[-1]) + 1) * _FRAME_SAMPLES),
        active=active * _FRAME_SAMPLES,
        rms=float(np.sqrt(np.mean(power[active]))),
    )


def draw_onset(
    found: Activity, *, scene_samples: int, visible_share: float, rng: np.random.Generator
) -> int:
    """Draws where a recording begins in a scene, so that it is heard there.

    If the active part of the recording is shorter than `visible_share` of the scene, all of it lies
    inside the scene; of a longer one at least that share of the scene is heard. One active frame,
    drawn at random, is inside in every case.

    Args:
      found: where the recording is active.
      scene_samples: length of the scene.
      visible_share: share of the scene, 0 to 1.
      rng: draws.

    Returns:
      The sample of the scene where sample 0 of the recording falls; may be negative.
    """
    length = found.stop - found.start
    visible = min(length, max(1, int(visible_share * scene_samples)))
    frame = int(rng.choice(found.active)) - found.start
    frame_length = min(_FRAME_SAMPLES, length - frame, scene_samples)
    earliest = max(visible - length, -frame)
    latest = min(scene_samples - visible, scene_samples - frame - frame_length)
    return int(rng.integers(earliest, latest + 1)) - found.start


def place(audio: np.ndarray, *, onset: int, num_samples: int) -> np.ndarray:
    """Puts a recording into a scene of silence.

    Args:
      audio: [samples] of any type.
      onset: sample of the scene where the recording begins; may be negative.
      num_samples: length of the scene.

    Returns:
      [num_samples] of the same type: what lies outside the scene is cut off.
    """
    placed = np.zeros(num_samples, audio.dtype)
    first, last = max(onset, 0), min(onset + len(audio), num_samples)
    if first < last:
        placed[first:last] = audio[first - onset : last - onset]
    return placed


def add_up(sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns float sources into int16 ones and their exact int16 sum.

    When a source or the sum would clip, the whole scene is turned down until it fits: nothing is
    ever clipped, and the levels within the scene stay what they were.

    Args:
      sources: [source, samples] float, 1.0 being full scale.

    Returns:
      (mixture int16 [samples], sources int16 [source, samples]).
    """
    scaled = sources.astype(np.float64) * 32768.0
    peak = max(np.abs(scaled).max(), np.abs(scaled.sum(axis=0)).max())
    if peak > _CEILING:
        scaled *= _CEILING / peak
    rounded = np.rint(scaled).astype(np.int32)
    return rounded.sum(axis=0).astype(np.int16), rounded.astype(np.int16)


class Mixer:
    """Mixes the scenes of one recipe from recordings.

    Args:
      recordings: what to mix.
      recipe: how.
    """

    def __init__(self, recordings: Recordings, recipe: SceneRecipe) -> None:
        self.recordings = recordings
        self.recipe = recipe
        self._activities: dict[int, Activity | None] = {}
        splits = split_recordings(recordings, recipe)
        self.split_of = splits
        self._by_class = {
            split: _by_class(recordings, np.flatnonzero(splits == number))
            for number, split in enumerate(SPLITS)
        }

    def scene(self, split: str, index: int) -> Scene:
        """Mixes a scene.

        Args:
          split: "train", "validation" or "test".
          index: number of the scene in the split, from 0.
        """
        rng = np.random.default_rng([self.recipe.seed, SPLITS.index(split), index])
        chosen = self._choose(split, rng)
        num_samples = self.recipe.scene_samples
        sources, onsets, gains_db = [], [], []
        for number in chosen:
            audio = self.recordings.audio(number)
            found = self._activity(number, audio)
            gain_db = float(rng.uniform(*self.recipe.gain_db))
            onset = draw_onset(
                found,
                scene_samples=num_samples,
                visible_share=self.recipe.visible_share,
                rng=rng,
            )
            scale = self.recipe.source_rms * 10 ** (gain_db / 20) / (32768.0 * found.rms)
            sources.append(place(audio, onset=onset, num_samples=num_samples) * scale)
            onsets.append(onset)
            gains_db.append(gain_db)
        mixture, rounded = add_up(np.stack(sources))
        return Scene(
            mixture=mixture,
            sources=rounded,
            labels=tuple(sorted({c for n in chosen for c in self.recordings.labels[n]})),
            recordings=tuple(chosen),
            gains_db=tuple(gains_db),
            onsets=tuple(onsets),
        )

    def _choose(self, split: str, rng: np.random.Generator) -> list[int]:
        """Draws recordings of distinct classes; each class is as likely."""
        by_class = self._by_class[split]
        if not by_class:
            raise SepconError(
                f"sound scenes: no recording is left for the {split} scenes; give more "
                "recordings or other shares"
            )
        wanted = int(rng.integers(1, self.recipe.max_sources + 1))
        chosen: list[int] = []
        heard: set[int] = set()
        for label in rng.permutation(sorted(by_class)):
            number = int(rng.choice(by_class[int(label)]))
            # A recording of several classes must share none with those already in the scene.
            if heard.isdisjoint(self.recordings.labels[number]):
                chosen.append(number)
                heard.update(self.recordings.labels[number])
            if len(chosen) == wanted:
                break
        return chosen

    def _activity(self, number: int, audio: np.ndarray) -> Activity:
        if number not in self._activities:
            self._activities[number] = activity(audio)
        found = self._activities[number]
        if found is None:
            raise ValueError(
                f"recording {self.recordings.ids[number]}: got zeros only, expected sound"
            )
        return found


def _by_class(recordings: Recordings, numbers: np.ndarray) -> dict[int, np.ndarray]:
    lists: dict[int, list[int]] = {}
    for number in numbers:
        for label in recordings.labels[number]:
            lists.setdefault(label, []).append(int(number))
    return {label: np.asarray(list_) for label, list_ in lists.items()}


def split_recordings(recordings: Recordings, recipe: SceneRecipe) -> np.ndarray:
    """Splits the recordings into training, validation and test.

    Recordings of one group, which were cut from one original, are always in the same split. Where
    there are folds, the recordings of the test fold are the test; a recording of another fold whose
    group also occurs in the test fold is left out. Validation is drawn from the rest, class by
    class and whole groups at a time.

    Args:
      recordings: all of them.
      recipe: has the test fold, the shares of the splits and the seed.

    Returns:
      [recordings] integer: 0 for training, 1 for validation, 2 for test, -1 for left out.

    Raises:
      SepconError: the recipe names a test fold that the recordings do not have.
    """
    groups, folds = recordings.groups, recordings.folds
    if recipe.test_fold is not None and not any(folds):
        raise SepconError(
            f"sound scenes: test_fold is {recipe.test_fold}, but these recordings have no folds; "
            "another SceneRecipe.seed splits them in another way"
        )
    if any(folds):
        test_fold = max(folds) if recipe.test_fold is None else recipe.test_fold
        if test_fold not in folds:
            raise SepconError(
                f"sound scenes: test_fold is {test_fold}, but the recordings have folds "
                f"{sorted(set(folds))}; choose one of these"
            )
        in_test = np.asarray([fold == test_fold for fold in folds])
    else:
        every = np.ones(len(groups), bool)
        held = _held_out(recordings, every, recipe.test_share, [recipe.seed, 1])
        in_test = np.asarray([group in held for group in groups])
    test_groups = {group for group, test in zip(groups, in_test, strict=True) if test}
    rest = np.asarray([group not in test_groups for group in groups])
    held = _held_out(recordings, rest, recipe.validation_share, [recipe.seed, 2])
    splits = np.where(in_test, 2, np.where(rest, 0, -1))
    splits[np.asarray([group in held for group in groups]) & rest] = 1
    return splits


def _held_out(
    recordings: Recordings, candidates: np.ndarray, share: float, seed: Sequence[int]
) -> set[str]:
    by_class = _by_class(recordings, np.flatnonzero(candidates))
    return hold_out_groups(groups=recordings.groups, by_class=by_class, share=share, seed=seed)
