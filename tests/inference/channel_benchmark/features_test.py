"""Features and classifiers of the benchmark of channels, against scikit-learn and plain algebra."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from sepcon.embeddings.channels.attention import AttentionSettings
from sepcon.inference.channel_benchmark.embedded_scenes import Bag
from sepcon.inference.channel_benchmark.features import (
    Setting,
    attention_features,
    pooled_features,
    principal_components,
    random_features,
)
from sepcon.inference.channel_benchmark.ridge import fit_ridge

DIM = 5


def bag_of(scenes, seed=0):
    random = np.random.default_rng(seed)
    return Bag(
        random.normal(size=(scenes, 2, DIM)).astype(np.float32),
        random.normal(size=(scenes, 2, 4, DIM)).astype(np.float32),
        10.0 ** -random.uniform(0, 4, size=(scenes, 2, 4)).astype(np.float32),
    )


@pytest.mark.parametrize("rows", [300, 20])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 30.0])
def test_least_squares_are_those_of_scikit_learn(rows, penalty):
    random = np.random.default_rng(rows)
    features = random.normal(size=(rows, 40)) * random.uniform(0.1, 9, size=40) + 3
    features[:, 7] = 2.0
    labels = (random.uniform(size=(rows, 3)) < 0.3).astype(np.uint8)
    _, layer = fit_ridge(features, labels, penalties=(5.0, penalty))
    deviation = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    expected = Ridge(alpha=penalty * rows).fit(scaled, labels).predict(scaled)
    np.testing.assert_allclose(layer.logits(features), expected, atol=2e-4)
    assert np.all(layer.kernel[7] == 0)
    with pytest.raises(ValueError, match="penalties must be above 0"):
        fit_ridge(features, labels, penalties=(1.0, 0.0))


def test_principal_components_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    strengths = 2.0 ** -np.arange(12)
    rows = random.normal(size=(200, 12)) * strengths @ random.normal(size=(12, 12))
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    expected = PCA(4).fit_transform(scaled)
    found = principal_components(rows.astype(np.float32), 4)(rows.astype(np.float32))
    for column in range(4):
        sign = np.sign(found[:, column] @ expected[:, column])
        np.testing.assert_allclose(sign * found[:, column], expected[:, column], atol=2e-2)


def test_random_features_know_nothing_but_the_mixture_and_are_more():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(50, DIM)), random.normal(size=(20, DIM))
    features = random_features(train, seed=1)(test)
    assert features.shape == (20, 3 * DIM)
    np.testing.assert_allclose(features[:, :DIM], test, rtol=1e-6)
    assert (features[:, DIM:] >= 0).all()
    assert len(np.unique(features[:, DIM:] > 0, axis=0)) > 5
    np.testing.assert_array_equal(features, random_features(train, seed=1)(test))
    assert not np.array_equal(features, random_features(train, seed=2)(test))


@pytest.mark.parametrize("pooling", ["maximum", "mean", "both"])
def test_pooled_features_are_means_over_patches(pooling):
    bag = bag_of(6)
    found = pooled_features(bag, Setting(pooling, 0.01))
    for scene in range(6):
        rows = []
        for patch in range(2):
            energy = bag.energy[scene, patch]
            kept = bag.views[scene, patch][energy >= np.float32(0.01) * energy.max()]
            parts = {"maximum": [kept.max(axis=0)], "mean": [kept.mean(axis=0)]}
            parts["both"] = parts["maximum"] + parts["mean"]
            rows.append(np.concatenate([bag.mixture[scene, patch], *parts[pooling]]))
        np.testing.assert_allclose(found[scene], np.mean(rows, axis=0), atol=1e-5)


def test_attention_learns_of_the_scenes_that_it_is_given():
    train, other = bag_of(40, 1), bag_of(20, 2)
    labels = np.eye(2, dtype=np.uint8)[np.random.default_rng(0).integers(2, size=40)]
    few = AttentionSettings(max_epochs=2, batch_size=8)
    arguments = (other, labels[:20])
    setting = Setting("attention", 0.01)
    of_all = attention_features(setting, train, labels, *arguments, seed=0, settings=few)
    half = train.select(np.arange(20))
    of_half = attention_features(setting, half, labels[:20], *arguments, seed=0, settings=few)
    features = of_all(other)
    assert features.shape == (20, 2 * DIM)
    np.testing.assert_allclose(features[:, :DIM], other.mixture.mean(axis=1), atol=1e-6)
    assert np.abs(features - of_half(other)).max() > 1e-4
