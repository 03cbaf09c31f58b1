"""How well a separator does on scenes whose sources are known.

Wisdom et al. 2020, section 4: improvement of the scale-invariant signal-to-noise ratio (SI-SNR)
over the mixture where there are several sources, and the ratio itself where there is one.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from sepcon.data.clips import ClipDataset, to_float, with_sources
from sepcon.losses.mixit import mixit_loss
from sepcon.losses.mixit_snr import mixit_negative_snr_db
from sepcon.progress import track
from sepcon.separation_metrics import MAX_ASSIGNMENTS, si_snr_improvement

Separate = Callable[[tf.Tensor], tf.Tensor]


def evaluate_separation(
    separator: Separate,
    clips: ClipDataset,
    *,
    max_clips: int | None = None,
    batch_size: int = 8,
) -> dict[str, float]:
    """Separates scenes and compares the channels with the known sources.

    Channels are compared in two ways: each source with one channel of its own, by the best
    permutation, and each source with the sum of a group of channels, by the best way to
    distribute all channels. The second forgives a source that is spread over channels.

    Args:
      separator: [batch, samples] float32 -> [batch, channel, samples] float32.
      clips: scenes that keep their sources.
      max_clips: the first so many scenes are measured; all by default.
      batch_size: scenes that are separated at a time, if they have one length.

    Returns:
      Means in dB and numbers of scenes. With k = 2, 3 ... active sources: `num_scenes_k`,
      `si_snri_channel_db_k`, `si_snri_group_db_k`; `si_snri_channel_db` and `si_snri_group_db`
      over all of these; `num_scenes_1` and `si_snr_channel_db_1`, the best channel of a scene
      with one source, absolute; `mixit_negative_snr_db`, of sums of two neighbouring scenes;
      `num_scenes`; `num_scenes_skipped`, silent ones or with more sources than channels. What
      no scene was there for is missing, as are groups that can be formed in over 65,536 ways.

    Raises:
      SepconError: the clips' sources are not known.
    """
    measures: dict[str, list[float]] = defaultdict(list)
    num_scenes = clips.num_clips if max_clips is None else min(max_clips, clips.num_clips)
    for mixture, sources, channels in track(
        _separated(separator, clips, num_scenes, batch_size),
        num_scenes,
        f"measure separation on {clips.name}",
        unit="scene",
    ):
        _measure_scene(mixture, sources, channels, measures)
    if clips.clip_samples is not None:
        for value in _pair_losses(separator, clips, num_scenes, batch_size):
            measures["mixit_negative_snr_db"].append(value)
    return {"num_scenes": num_scenes, **_summarise(measures)}


def _measure_scene(
    mixture: np.ndarray,
    sources: np.ndarray,
    channels: np.ndarray,
    measures: dict[str, list[float]],
) -> None:
    count = int(np.count_nonzero(np.any(sources, axis=1)))
    if not 0 < count <= len(channels):
        measures["skipped"].append(1.0)
        return
    measure = functools.partial(
        si_snr_improvement, reference=sources, estimate=channels, mixture=mixture
    )
    by_channel = measure()
    if count == 1:
        measures["si_snr_channel_db_1"].append(float(by_channel.si_snr_db[0]))
        return
    scores = {"si_snri_channel_db": by_channel}
    if count ** len(channels) <= MAX_ASSIGNMENTS:
        scores["si_snri_group_db"] = measure(matching="channel_groups")
    for name, score in scores.items():
        for key in (name, f"{name}_{count}"):
            measures[key].append(float(np.mean(score.improvement_db)))


def _summarise(measures: dict[str, list[float]]) -> dict[str, float]:
    counts = {
        f"num_scenes_{key.rsplit('_', 1)[1]}": len(values)
        for key, values in measures.items()
        if key.startswith(("si_snri_channel_db_", "si_snr_channel_db_"))
    }
    means = {key: float(np.mean(v)) for key, v in measures.items() if key != "skipped"}
    return {**counts, "num_scenes_skipped": len(measures["skipped"]), **means}


def _separated(
    separator: Separate, clips: ClipDataset, num_scenes: int, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields mixture [samples], sources [source, samples] and channels [channel, samples]."""
    separate = tf.function(separator, autograph=False, reduce_retracing=True)
    dataset = with_sources(clips).take(num_scenes)
    # Scenes of different length cannot share a batch: padding would change the statistics.
    for batch in dataset.batch(batch_size if clips.clip_samples else 1).prefetch(1):
        mixture, sources = to_float(batch["audio"]), to_float(batch["sources"])
        channels = separate(mixture)
        yield from zip(mixture.numpy(), sources.numpy(), channels.numpy(), strict=True)


def _pair_losses(
    separator: Separate, clips: ClipDataset, num_scenes: int, batch_size: int
) -> Iterator[float]:
    @tf.function(autograph=False, reduce_retracing=True)
    def negative_snr(reference: tf.Tensor) -> tf.Tensor:
        estimate = separator(tf.reduce_sum(reference, axis=1))
        result = mixit_loss(reference=reference, estimate=estimate)
        return mixit_negative_snr_db(
            reference=reference, estimate=estimate, mixing_matrix=result.mixing_matrix
        )

    audio = clips.build().take(num_scenes).map(lambda clip: to_float(clip["audio"]))
    pairs = audio.batch(2, drop_remainder=True).batch(batch_size).prefetch(1)
    for reference in track(
        pairs, -(-(num_scenes // 2) // batch_size), "measure the MixIT loss", unit="batch"
    ):
        yield from map(float, negative_snr(reference).numpy())
