"""What a classifier gets of a scene: the mixture's embedding and, beside it, something more."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sepcon.embeddings.channels.attention import AttentionSettings, ChannelSets, learn_attention
from sepcon.inference.channel_benchmark.embedded_scenes import Bag
from sepcon.models.products.channel_pooling import ATTENTION, audible, pooled

Features = Callable[[Bag], np.ndarray]


class Setting(NamedTuple):
    """How views are pooled. Attributes: pooling; share, below which views are left out."""

    pooling: str
    share: float


def pooled_features(bag: Bag, setting: Setting) -> np.ndarray:
    """Returns the embeddings [scenes, size] that `ChannelEmbeddingModel` gives with this setting.

    They are means over patches, in each of which the audible views are pooled.
    """
    heard = audible(tf.constant(bag.energy), setting.share)
    of_patches = pooled(
        tf.constant(bag.mixture), tf.constant(bag.views), heard, pooling=setting.pooling
    )
    return of_patches.numpy().mean(axis=1)


def attention_features(
    setting: Setting,
    train: Bag,
    train_labels: np.ndarray,
    validation: Bag,
    validation_labels: np.ndarray,
    *,
    seed: int,
    settings: AttentionSettings | None = None,
) -> Features:
    """Learns attention of the labels of some scenes; returns what makes features [scenes, 2 * dim].

    Args:
      setting: of attention.
      train: what it is learned from.
      train_labels: [scenes, classes].
      validation: what decides when to stop.
      validation_labels: the same of these.
      seed: of the first weights.
      settings: how it is learned.
    """
    dim = train.mixture.shape[-1]

    def sets(bag: Bag) -> ChannelSets:
        return ChannelSets.of_rows(pooled_features(bag, Setting(ATTENTION, setting.share)), dim=dim)

    attention = learn_attention(
        sets(train),
        train_labels,
        sets(validation),
        validation_labels,
        settings=settings,
        seed=seed,
    )
    return lambda bag: attention.embed(sets(bag))


def random_features(train_mixture: np.ndarray, *, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that puts 2 * dim random features behind the embedding of a mixture.

    They are rectified random projections (Rahimi and Recht, "Random features for large-scale kernel
    machines", 2007), which know nothing but the mixture: the control of as many features as the
    mixture with maximum and mean of its channels has.

    Args:
      train_mixture: [scenes, dim], for the scale.
      seed: of the projections.
    """
    mean, deviation = train_mixture.mean(axis=0), train_mixture.std(axis=0)
    deviation = np.where(deviation > 1e-6, deviation, 1.0)
    dim = train_mixture.shape[1]
    random = np.random.default_rng([seed, 3])
    projection = random.normal(scale=dim**-0.5, size=(dim, 2 * dim))
    bias = random.normal(scale=0.5, size=2 * dim)

    def features(mixture: np.ndarray) -> np.ndarray:
        hidden = np.maximum((mixture - mean) / deviation @ projection + bias, 0.0)
        return np.concatenate([mixture, hidden], axis=1).astype(np.float32)

    return features


def principal_components(train: np.ndarray, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that leaves `size` numbers of each row: the largest principal components.

    Every feature is brought to deviation 1 first.

    Args:
      train: [scenes, features], whose components are taken.
      size: how many.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 1e-6, deviation, np.inf)
    scaled = ((train - mean) / scale).astype(np.float64)
    # The smaller of the two matrices of inner products has the same components.
    if len(scaled) < scaled.shape[1]:
        values, vectors = np.linalg.eigh(scaled @ scaled.T)
        kept = vectors[:, ::-1][:, :size]
        lengths = np.sqrt(np.maximum(values[::-1][:size], 1e-12))
        components = scaled.T @ kept / lengths
    else:
        components = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1][:, :size]
    return lambda rows: ((rows - mean) / scale @ components).astype(np.float32)
