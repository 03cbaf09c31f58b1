"""What a classifier gets of a scene: the mixture's embedding and, beside it, something more."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sepcon.embeddings.channels.attention import AttentionSettings, ChannelSets, learn_attention
from sepcon.inference.channel_benchmark.embedded_scenes import Bag
from sepcon.models.products.channel_pooling import ATTENTION, audible, pooled

_SUBSPACE_ITERATIONS = 6

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


def principal_components(
    train: np.ndarray, size: int, *, seed: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that leaves `size` numbers of each row: the largest principal components.

    Every feature is brought to deviation 1 first. The components are found by subspace iteration
    (Halko, Martinsson and Tropp, "Finding structure with randomness", 2011), which takes a tenth of
    the time of all eigenvectors.

    Args:
      train: [scenes, features], whose components are taken.
      size: how many, at most as many as there are features.
      seed: of the first subspace.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 1e-6, deviation, np.inf).astype(np.float32)
    scaled = (train - mean) / scale
    covariance = scaled.T @ scaled / np.float32(len(train))
    random = np.random.default_rng([seed, 4])
    basis = random.normal(size=(train.shape[1], size)).astype(np.float32)
    for _ in range(_SUBSPACE_ITERATIONS):
        basis = np.linalg.qr(covariance @ basis)[0]
    values, rotation = np.linalg.eigh(basis.T @ covariance @ basis)
    components = basis @ rotation[:, np.argsort(-values)]
    return lambda rows: ((rows - mean) / scale @ components).astype(np.float32)
