"""Pools the embeddings of the channels of a patch: which channels count, and how they become one.

Pure functions of tensors; `ChannelEmbeddingModel` and `sepcon benchmark` share them.
"""

from __future__ import annotations

from typing import Literal, get_args

import tensorflow as tf

from sepcon.errors import SepconError

Pooling = Literal["maximum", "mean", "both", "attention"]
POOLINGS: tuple[str, ...] = get_args(Pooling)
# What is learned with labels has no place where there are none.
ATTENTION = "attention"


def check_pooling(pooling: str, audible_share: float) -> None:
    """Raises a SepconError unless both can be used."""
    if pooling not in POOLINGS:
        raise SepconError(f"pooling: got {pooling!r}, expected one of {', '.join(POOLINGS)}")
    if not 0 <= audible_share <= 1:
        raise SepconError(
            f"audible_share: got {audible_share}, expected a share of the energy of the loudest "
            "channel, 0 to 1, such as 0.01 (20 dB below it)"
        )


def audible(energy: tf.Tensor, share: float) -> tf.Tensor:
    """Says which channels count: those with a share of the energy of the loudest one.

    Args:
      energy: [..., channel] float32, not negative.
      share: 0 to 1; 0.01 is 20 dB below the loudest. Channels without any energy never count.

    Returns:
      [..., channel] bool; none of silence.
    """
    loudest = tf.reduce_max(energy, axis=-1, keepdims=True)
    return (energy > 0) & (energy >= share * loudest)


def pooled_size(dim: int, num_channels: int, pooling: str) -> int:
    """Returns how many numbers `pooled` gives.

    Args:
      dim: of the encoder.
      num_channels: of the separator.
      pooling: see `pooled`.
    """
    if pooling == ATTENTION:
        return dim + num_channels * (dim + 1)
    return dim * (3 if pooling == "both" else 2)


def pooled(mixture: tf.Tensor, channels: tf.Tensor, heard: tf.Tensor, *, pooling: str) -> tf.Tensor:
    """Puts the pooled embeddings of the audible channels behind that of their mixture.

    No channel that is left out has any influence, whatever it holds, and the order of the channels
    has none either. Where no channel is audible, the mixture stands for its only channel.

    Args:
      mixture: [..., dim] float32.
      channels: [..., channel, dim] float32.
      heard: [..., channel] bool, see `audible`.
      pooling: "maximum" or "mean" over the audible channels; "both", the maximum first; or
        "attention", which leaves them apart for a model that is learned of them: the embeddings of
        all channels one after the other, zeros where one is left out, and behind them for each
        channel 1 or 0. The mean of such vectors over patches can be taken apart again, see
        `sepcon.embeddings.channels.attention`.

    Returns:
      [..., `pooled_size(dim, channels, pooling)`] float32.
    """
    counts = heard[..., tf.newaxis]
    if pooling == ATTENTION:
        kept = tf.where(counts, channels, 0.0)
        shape = tf.concat([tf.shape(mixture)[:-1], [-1]], axis=0)
        return tf.concat([mixture, tf.reshape(kept, shape), tf.cast(heard, tf.float32)], axis=-1)
    parts = [mixture]
    if pooling in ("maximum", "both"):
        parts.append(tf.reduce_max(tf.where(counts, channels, channels.dtype.min), axis=-2))
    if pooling in ("mean", "both"):
        number = tf.reduce_sum(tf.cast(counts, tf.float32), axis=-2)
        total = tf.reduce_sum(tf.where(counts, channels, 0.0), axis=-2)
        parts.append(total / tf.maximum(number, 1.0))
    any_heard = tf.reduce_any(heard, axis=-1, keepdims=True)
    return tf.concat(
        [mixture, *(tf.where(any_heard, part, mixture) for part in parts[1:])], axis=-1
    )
