"""How well a separator does on scenes whose sources are known.

Wisdom et al. 2020, section 4: improvement of the scale-invariant signal-to-noise ratio (SI-SNR)
over the mixture where there are several sources, and the ratio itself where there is one. Wisdom
et al. 2021 (FUSS): how often there are fewer or more active channels than sources.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from sepcon.data.clips import ClipDataset, to_float, with_sources
from sepcon.data.examples import map_in_order
from sepcon.losses.mixit import mixit_loss
from sepcon.losses.mixit_snr import mixit_negative_snr_db
from sepcon.metrics.bootstrap import mean_interval
from sepcon.metrics.separation import MAX_ASSIGNMENTS, active_channels, si_snr_improvement
from sepcon.runs.progress import track

Separate = Callable[[tf.Tensor], tf.Tensor]
# mixture and sources to channels: oracles look at the sources, separators do not.
SeparateScene = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class SceneScores:
    """The scores of a separator on one scene.

    Attributes:
      id: of the scene.
      num_sources: sources that are not silent.
      num_active_channels: channels that `active_channels` counts.
      si_snr_channel_db: of each of these sources, under the best permutation of single channels.
      si_snri_channel_db: its improvement over the mixture.
      si_snri_group_db: improvement under the best grouping of all channels; empty where there is
        one source, whose best group is the mixture, and where there are too many groupings.
    """

    id: str
    num_sources: int
    num_active_channels: int
    si_snr_channel_db: tuple[float, ...]
    si_snri_channel_db: tuple[float, ...]
    si_snri_group_db: tuple[float, ...]


class MeasuredSeparator:
    """A separator with the graphs that measure it, which follow its weights from state to state.

    Making them takes longer than measuring a few scenes.

    Args:
      separator: [batch, samples] float32 -> [batch, channel, samples] float32.
    """

    def __init__(self, separator: Separate) -> None:
        self.separator = separator
        self.separate_scene = _in_graph(lambda mixture, sources: separator(mixture))
        self.negative_snr_db = _in_graph(functools.partial(_negative_snr_db, separator))


def evaluate_separation(
    measured: MeasuredSeparator,
    clips: ClipDataset,
    *,
    max_clips: int | None = None,
    batch_size: int = 8,
    bootstrap_resamples: int = 1000,
) -> dict[str, float]:
    """Separates scenes and compares the channels with the known sources.

    Args:
      measured: the separator.
      clips: scenes that keep their sources.
      max_clips: the first so many scenes are measured; all by default.
      batch_size: scenes that are separated at a time, if they have one length.
      bootstrap_resamples: resamples of the scenes behind the 95 % intervals.

    Returns:
      What `summarize_scenes` returns, and `mixit_negative_snr_db` of sums of two neighbouring
      scenes, where all are equally long.

    Raises:
      SepconError: the clips' sources are not known.
    """
    scenes = score_scenes(
        measured.separate_scene, clips, max_clips=max_clips, batch_size=batch_size
    )
    num_scenes = num_measured(clips, max_clips)
    summary = summarize_scenes(
        scenes, num_scenes=num_scenes, bootstrap_resamples=bootstrap_resamples
    )
    return summary | mixit_measure(measured, clips, max_clips=max_clips, batch_size=batch_size)


def _in_graph(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Returns a function that runs in a graph; as it is, if it does so already."""
    if isinstance(function, tf.types.experimental.PolymorphicFunction):
        return function
    return tf.function(function, autograph=False, reduce_retracing=True)


def num_measured(clips: ClipDataset, max_clips: int | None) -> int:
    """Returns how many clips are measured.

    Args:
      clips: all of them.
      max_clips: the largest number; None for all.
    """
    return clips.num_clips if max_clips is None else min(max_clips, clips.num_clips)


def score_scenes(
    separate: SeparateScene,
    clips: ClipDataset,
    *,
    max_clips: int | None = None,
    batch_size: int = 8,
    description: str = "",
) -> list[SceneScores]:
    """Separates scenes and scores each; silent scenes and those with too many sources are skipped.

    Channels are compared in two ways: each source with one channel of its own, by the best
    permutation; and each source with the sum of a group of channels, by the best distribution of
    all channels over the sources. The second way does not penalise a source that is spread over
    several channels.

    Args:
      separate: mixture [batch, samples] and sources [batch, source, samples] float32 to channels
        [batch, channel, samples] float32.
      clips: scenes that keep their sources.
      max_clips: the first so many scenes are measured; all by default.
      batch_size: scenes that are separated at a time, if they have one length.
      description: what the progress bar says.

    Raises:
      SepconError: the clips' sources are not known.
    """
    num_scenes = num_measured(clips, max_clips)
    scores = [
        _score_scene(*scene)
        for scene in track(
            _separated(separate, clips, num_scenes, batch_size),
            num_scenes,
            description or f"measure separation on {clips.name}",
            unit="scene",
        )
    ]
    return [score for score in scores if score is not None]


def summarize_scenes(
    scenes: Sequence[SceneScores], *, num_scenes: int, bootstrap_resamples: int = 1000
) -> dict[str, float]:
    """Averages the scores of scenes, with 95 % bootstrap intervals over scenes.

    Args:
      scenes: from `score_scenes`.
      num_scenes: how many were looked at.
      bootstrap_resamples: resamples behind the intervals.

    Returns:
      `num_scenes`; `num_scenes_skipped`, silent ones or with more sources than channels; and
      means, each with its interval under the name with `_low` and `_high`. With k = 1, 2, 3 ...
      active sources: `num_scenes_k`, `active_channels_k`, and `under_separated_k`,
      `equally_separated_k`, `over_separated_k`, the shares of scenes with fewer, as many and more
      active channels than sources, with `num_` before them their numbers; the same without `_k`
      over all scenes. For k > 1
      `si_snri_channel_db_k` and `si_snri_group_db_k`; without `_k` over all active sources of all
      scenes with at least two (MSi of Wisdom et al.). `si_snr_channel_db_1` is the best channel of
      a scene with one source, absolute (1S). What no scene was there for is missing. All active
      sources count, also those whose channel is nearly silent, which the evaluation of FUSS leaves
      out of its means.
    """
    counts = sorted({scene.num_sources for scene in scenes})
    summary: dict[str, float] = {
        "num_scenes": num_scenes,
        "num_scenes_skipped": num_scenes - len(scenes),
    }
    values: dict[str, list[Sequence[float]]] = {}
    groups = [("", scenes), *((f"_{k}", [s for s in scenes if s.num_sources == k]) for k in counts)]
    for suffix, members in groups:
        if suffix:
            summary[f"num_scenes{suffix}"] = len(members)
        for name, of_scene in _MEASURES.items():
            values[name + suffix] = [value for scene in members if (value := of_scene(scene))]
        for name in SEPARATED:
            summary[f"num_{name}{suffix}"] = int(np.sum(values[name + suffix]))
    # With one source the mixture is perfect: the ratio counts there, its improvement elsewhere.
    values["si_snr_channel_db_1"] = [s.si_snr_channel_db for s in scenes if s.num_sources == 1]
    for name, found in values.items():
        if found:
            low, high = mean_interval(found, num_resamples=bootstrap_resamples)
            mean = float(np.mean(np.concatenate(found)))
            summary |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return summary


SEPARATED = ("under_separated", "equally_separated", "over_separated")
_MEASURES: dict[str, Callable[[SceneScores], Sequence[float]]] = {
    "si_snri_channel_db": lambda s: s.si_snri_channel_db if s.num_sources > 1 else (),
    "si_snri_group_db": lambda s: s.si_snri_group_db,
    "active_channels": lambda s: (float(s.num_active_channels),),
    "under_separated": lambda s: (float(s.num_active_channels < s.num_sources),),
    "equally_separated": lambda s: (float(s.num_active_channels == s.num_sources),),
    "over_separated": lambda s: (float(s.num_active_channels > s.num_sources),),
}


def _score_scene(
    scene_id: str, mixture: np.ndarray, sources: np.ndarray, channels: np.ndarray
) -> SceneScores | None:
    """Scores one scene, or returns None if it is silent or has more sources than channels."""
    count = int(np.count_nonzero(np.any(sources, axis=1)))
    if not 0 < count <= len(channels):
        return None
    measure = functools.partial(
        si_snr_improvement, reference=sources, estimate=channels, mixture=mixture
    )
    by_channel = measure()
    grouped = count > 1 and count ** len(channels) <= MAX_ASSIGNMENTS
    by_group = measure(matching="channel_groups").improvement_db if grouped else ()
    return SceneScores(
        id=scene_id,
        num_sources=count,
        num_active_channels=int(active_channels(reference=sources, estimate=channels).sum()),
        si_snr_channel_db=tuple(map(float, by_channel.si_snr_db)),
        si_snri_channel_db=tuple(map(float, by_channel.improvement_db)),
        si_snri_group_db=tuple(map(float, by_group)),
    )


def _separated(
    separate: SeparateScene, clips: ClipDataset, num_scenes: int, batch_size: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields id, mixture [samples], sources [source, samples] and channels [channel, samples]."""
    in_graph = _in_graph(separate)
    dataset = with_sources(clips).take(num_scenes)
    # Scenes of different length cannot share a batch: padding would change the statistics.
    for batch in dataset.batch(batch_size if clips.clip_samples else 1).prefetch(1):
        mixture, sources = to_float(batch["audio"]), to_float(batch["sources"])
        arrays = (mixture.numpy(), sources.numpy(), in_graph(mixture, sources).numpy())
        for scene_id, *scene in zip(batch["id"].numpy(), *arrays, strict=True):
            yield scene_id.decode(), *scene


def mixit_measure(
    measured: MeasuredSeparator,
    clips: ClipDataset,
    *,
    max_clips: int | None = None,
    batch_size: int = 8,
) -> dict[str, float]:
    """Measures the MixIT loss, as a ratio, on the sums of two neighbouring clips each.

    It is the loss of the training, measured on other clips; it needs no known sources.

    Args:
      measured: the separator in its graphs.
      clips: of one length.
      max_clips: how many are used; all by default.
      batch_size: pairs at a time.

    Returns:
      `mixit_negative_snr_db`, see `sepcon.losses.mixit_snr`; empty where clips differ in length or
      there are fewer than two.
    """
    num_scenes = num_measured(clips, max_clips)
    if clips.clip_samples is None or num_scenes < 2:
        return {}
    scenes = clips.build().take(num_scenes)
    audio = map_in_order(scenes, lambda clip: to_float(clip["audio"]), num_parallel_calls=1)
    pairs = audio.batch(2, drop_remainder=True).batch(batch_size).prefetch(1)
    batches = track(
        pairs, -(-(num_scenes // 2) // batch_size), "measure the MixIT loss", unit="batch"
    )
    values = [measured.negative_snr_db(reference).numpy() for reference in batches]
    return {"mixit_negative_snr_db": float(np.mean(np.concatenate(values)))}


def _negative_snr_db(separator: Separate, reference: tf.Tensor) -> tf.Tensor:
    """Of sums of two clips: [batch, clip, samples] float32 -> [batch]."""
    estimate = separator(tf.reduce_sum(reference, axis=1))
    result = mixit_loss(reference=reference, estimate=estimate)
    return mixit_negative_snr_db(
        reference=reference, estimate=estimate, mixing_matrix=result.mixing_matrix
    )
