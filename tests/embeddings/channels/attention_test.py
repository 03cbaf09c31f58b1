"""Attention over channels: against loops in numpy, and on sets whose answer is in one channel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.embeddings.channels.attention import (
    Attention,
    AttentionSettings,
    ChannelSets,
    learn_attention,
    with_attention,
)
from sepcon.embeddings.store import Embeddings

DIM, CHANNELS = 6, 4


def attention_of(seed=0, dim=DIM):
    random = np.random.default_rng(seed)
    return Attention(
        random.normal(size=dim),
        random.uniform(0.5, 2.0, size=dim),
        (random.normal(size=(dim, 5)), random.normal(size=5)),
        random.normal(size=5),
        (),
    )


def sets_of(seed, clips=3, share=0.5):
    random = np.random.default_rng(seed)
    audible = (random.uniform(size=(clips, CHANNELS)) < share) * random.uniform(
        0.2, 1.0, size=(clips, CHANNELS)
    )
    channels = random.normal(size=(clips, CHANNELS, DIM)) * (audible > 0)[..., np.newaxis]
    return ChannelSets(random.normal(size=(clips, DIM)), channels, audible)


def attended_by_hand(attention, mixture, channels, audible):
    """One clip: equation 8 of Ilse et al. (2018)."""
    logits, kept = [], []
    for channel, share in zip(channels, audible, strict=True):
        if share > 0:
            scaled = (channel - attention.mean) / attention.deviation
            hidden = np.tanh(scaled @ attention.hidden[0] + attention.hidden[1])
            logits.append(hidden @ attention.score)
            kept.append(channel)
    if not kept:
        return np.concatenate([mixture, mixture])
    weights = np.exp(logits) / np.sum(np.exp(logits))
    mean = sum(weight * channel for weight, channel in zip(weights, kept, strict=True))
    return np.concatenate([mixture, mean])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 1.0]), st.permutations(range(CHANNELS)))
def test_attention_is_that_of_the_paper_whatever_the_order_of_the_channels(seed, share, order):
    attention, sets = attention_of(seed), sets_of(seed, share=share)
    embedded = attention.embed(sets)
    for row in range(3):
        expected = attended_by_hand(
            attention, sets.mixture[row], sets.channels[row], sets.audible[row]
        )
        np.testing.assert_allclose(embedded[row], expected, atol=1e-5)
    changed = np.where(sets.audible[..., np.newaxis] > 0, sets.channels, 7.0)
    other = ChannelSets(sets.mixture, changed[:, order], sets.audible[:, order])
    np.testing.assert_allclose(attention.embed(other), embedded, atol=1e-5)


def test_rows_are_taken_apart_into_means_over_the_patches_in_which_a_channel_is_heard():
    random = np.random.default_rng(0)
    mixture, channels = random.normal(size=(5, DIM)), random.normal(size=(5, CHANNELS, DIM))
    heard = random.uniform(size=(5, CHANNELS)) < 0.5
    heard[:, 2], heard[0, 1] = False, True
    kept = channels * heard[..., np.newaxis]
    rows = np.concatenate([mixture, kept.reshape(5, -1), heard], axis=1).astype(np.float32)
    sets = ChannelSets.of_rows(rows.mean(axis=0, keepdims=True), dim=DIM)
    np.testing.assert_allclose(sets.mixture[0], mixture.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(sets.audible[0], heard.mean(axis=0), atol=1e-6)
    for k in range(CHANNELS):
        patches = channels[heard[:, k], k]
        expected = patches.mean(axis=0) if len(patches) else np.zeros(DIM)
        np.testing.assert_allclose(sets.channels[0, k], expected, atol=1e-5)


def needle(clips, seed):
    """The class of a clip is told by the one channel that carries a mark; others mislead."""
    random = np.random.default_rng(seed)
    labels = np.eye(3, dtype=np.uint8)[random.integers(3, size=clips)]
    channels = random.normal(size=(clips, CHANNELS, DIM))
    channels[..., 3:] = 3 * np.eye(3)[random.integers(3, size=(clips, CHANNELS))]
    place = random.integers(CHANNELS, size=clips)
    channels[np.arange(clips), place, 3:] = 3 * labels
    channels[..., 0] = -2.0
    channels[np.arange(clips), place, 0] = 2.0
    audible = np.ones((clips, CHANNELS), np.float32)
    sets = ChannelSets(
        random.normal(size=(clips, DIM)).astype(np.float32), channels.astype(np.float32), audible
    )
    return sets, labels, place


@pytest.fixture(scope="module")
def learned():
    (train, of_train, _), (other, of_other, _) = needle(600, 0), needle(200, 1)
    return learn_attention(
        train, of_train, other, of_other, settings=AttentionSettings(learning_rate=1e-2), seed=0
    )


def test_attention_finds_the_channel_that_tells_the_class(learned):
    sets, _, place = needle(300, 2)
    weights = learned.weights(sets)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    assert np.mean(weights.argmax(axis=1) == place) > 0.95
    assert weights[np.arange(300), place].mean() > 0.8
    # The plain mean over the channels does not tell it nearly as well.
    assert max(learned.history) > 0.9 > learned.history[0]


def test_the_same_seed_learns_the_same_and_what_nobody_hears_changes_nothing(learned):
    train, of_train, _ = needle(60, 0)
    few = AttentionSettings(max_epochs=2, batch_size=16)
    arguments = (of_train, train, of_train)
    one = learn_attention(train, *arguments, settings=few, seed=1)
    np.testing.assert_array_equal(
        one.embed(train), learn_attention(train, *arguments, settings=few, seed=1).embed(train)
    )
    wider = ChannelSets(
        train.mixture,
        np.concatenate([train.channels, np.full((60, 1, DIM), 9, np.float32)], axis=1),
        np.pad(train.audible, [(0, 0), (0, 1)]),
    )
    again = learn_attention(wider, of_train, wider, of_train, settings=few, seed=1)
    np.testing.assert_allclose(again.embed(wider), one.embed(train), atol=1e-5)


def test_the_sources_of_a_benchmark_are_pooled_by_what_the_training_clips_teach():
    embedded = {}
    for role, clips, seed in (("train", 60, 0), ("validation", 30, 1), ("test", 20, 2)):
        sets, labels, _ = needle(clips, seed)
        rows = np.concatenate([sets.mixture, sets.channels.reshape(clips, -1), sets.audible], 1)
        ids = np.array([f"{role}{k}" for k in range(clips)])
        embedded[role] = Embeddings(ids, rows.astype(np.float32), labels, ("a", "b", "c"))
    settings = AttentionSettings(max_epochs=2)
    pooled = with_attention(embedded, dim=DIM, seed=0, settings=settings)
    for role, source in pooled.items():
        assert source.dim == 2 * DIM
        clips = source.shard(0)
        assert clips.embedding.shape == (len(embedded[role]), 2 * DIM)
        np.testing.assert_array_equal(clips.ids, embedded[role].ids)
        np.testing.assert_array_equal(clips.embedding[:, :DIM], embedded[role].embedding[:, :DIM])
    shuffled = {**embedded, "train": embedded["train"].select(np.arange(30))}
    fewer = with_attention(shuffled, dim=DIM, seed=0, settings=settings)
    difference = fewer["test"].shard(0).embedding - pooled["test"].shard(0).embedding
    assert np.abs(difference).max() > 1e-4
