"""Channels that no separator made: the true sources of scenes, and random masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sepcon.data.channels import stored_channels
from sepcon.data.clips import ClipDataset, to_float, with_sources
from sepcon.separation.random_masks import RandomMasks

# Ids and channels, [channel, samples] float32 or int16, clip by clip.
Channels = Iterator[tuple[bytes, npt.NDArray]]


def true_sources(clips: ClipDataset, start: int) -> Channels:
    """Yields id and sources of each clip, int16 [source, samples], from number `start` on."""
    for element in with_sources(clips).skip(start):
        yield element["id"].numpy(), element["sources"].numpy()


def random_masks(
    clips: ClipDataset,
    reference: str,
    masks: RandomMasks,
    seed: int,
    batch_size: int,
    start: int,
) -> Channels:
    """Yields id and randomly masked channels of each clip, float32 [channel, samples].

    Args:
      clips: what is split.
      reference: folder of stored channels, whose number and energies are taken over.
      masks: how smooth the masks are.
      seed: of the masks; each clip's are its own, wherever one starts.
      batch_size: clips at a time.
      start: number of the first clip.

    Raises:
      SepconError: the stored channels are of other clips.
    """
    stored = stored_channels(paths=[reference])
    stored.check_clips(clips)
    split = tf.function(
        lambda mixture, energies, normals: masks(
            mixture=mixture, energies=energies, normals=normals
        ),
        autograph=False,
    )
    dataset = tf.data.Dataset.zip(tf.data.Dataset.range(clips.num_clips), clips.build())
    for positions, batch in dataset.skip(start).batch(batch_size):
        energies = [
            _energies(stored.read(position, identifier, tf.constant(0.0)))
            for position, identifier in zip(positions, batch["id"], strict=True)
        ]
        mixture = to_float(batch["audio"])
        shape = (
            stored.num_channels,
            masks.num_time_knots(mixture.shape[-1]),
            masks.num_frequency_knots,
        )
        normals = [
            np.random.default_rng([seed, int(position)]).standard_normal(shape, np.float32)
            for position in positions
        ]
        channels = split(mixture, tf.stack(energies), np.stack(normals)).numpy()
        yield from zip(batch["id"].numpy(), channels, strict=True)


def _energies(channels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(to_float(channels)), axis=-1)  # [channel]
