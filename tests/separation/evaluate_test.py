"""Measures of a separator on scenes, against loops over permutations."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scenes_stub import scenes

from sepcon.errors import SepconError
from sepcon.separation.evaluate import (
    SEPARATED,
    MeasuredSeparator,
    evaluate_separation,
    score_scenes,
    summarize_scenes,
)


def si_snr(reference, estimate):
    target = np.dot(reference, estimate) / np.dot(reference, reference) * reference
    return 10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2))


def halves(mixture):
    """A separator of four channels: the beginning and the end of the mixture, and nothing."""
    middle = tf.shape(mixture)[1] // 2
    first = tf.cast(tf.range(tf.shape(mixture)[1]) < middle, tf.float32)
    return tf.stack([mixture * first, mixture * (1 - first), 0 * mixture, 0 * mixture], axis=1)


@pytest.mark.parametrize("lengths", [None, [400, 300, 401, 350, 222, 400, 123]])
def test_scenes_are_measured_by_number_of_sources(lengths):
    clips, items = scenes([2, 1, 3, 2, 0, 4, 2], lengths=lengths)
    got = evaluate_separation(MeasuredSeparator(halves), clips, max_clips=6, batch_size=4)
    assert got["num_scenes"] == 6
    assert [got[f"num_scenes_{k}"] for k in (1, 2, 3, 4)] == [1, 2, 1, 1]
    assert got["num_scenes_skipped"] == 1
    assert sum(got[f"num_{name}_2"] for name in SEPARATED) == 2
    gains = []
    for number in (0, 3):
        sources = items[number].astype(np.float64) / 32768
        mixture = sources.sum(axis=0)
        active, channels = sources[:2], halves(mixture[None].astype(np.float32))[0].numpy()
        before = np.mean([si_snr(source, mixture) for source in active])
        pairs = itertools.permutations([channel for channel in channels if channel.any()])
        after = max(np.mean([si_snr(*pair) for pair in zip(active, p, strict=True)]) for p in pairs)
        gains.append(after - before)
    assert got["si_snri_channel_db_2"] == pytest.approx(np.mean(gains), abs=1e-3)
    # Every source counts once: 2 * 2 of scenes of two, 3 and 4 of the others.
    by_count = np.array([got[f"si_snri_channel_db_{k}"] for k in (2, 3, 4)])
    assert got["si_snri_channel_db"] == pytest.approx(by_count @ [4, 3, 4] / 11)
    assert got["si_snri_channel_db_low"] <= got["si_snri_channel_db"]
    assert got["si_snri_channel_db_high"] >= got["si_snri_channel_db"]
    assert ("mixit_negative_snr_db" in got) == (lengths is None)


def by_remix(matrix):
    """An oracle whose channels are `matrix` [channel, source] times the true sources."""
    return lambda mixture, sources: tf.einsum("ms,bst->bmt", tf.constant(matrix), sources)


MERGED = np.float32([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
SPLIT = np.float32([[0.6, 0, 0, 0], [0.4, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "matrix, counts, shares",
    [
        (np.eye(4, dtype=np.float32), {1: 1, 2: 2, 3: 3, 4: 4}, (0, 1, 0)),
        (MERGED, {1: 1, 2: 1, 3: 2, 4: 3}, (3 / 4, 1 / 4, 0)),
        (SPLIT, {1: 2, 2: 3, 3: 4, 4: 5}, (0, 0, 1)),
    ],
    ids=["separated", "merged", "split"],
)
def test_too_few_and_too_many_channels_are_counted(matrix, counts, shares):
    clips, _ = scenes([2, 1, 3, 4])
    scores = score_scenes(by_remix(matrix), clips, batch_size=3)
    assert {scene.num_sources: scene.num_active_channels for scene in scores} == counts
    got = summarize_scenes(scores, num_scenes=4)
    assert tuple(got[name] for name in SEPARATED) == shares
    assert tuple(got[f"num_{name}"] for name in SEPARATED) == tuple(4 * share for share in shares)
    assert [got[f"active_channels_{k}"] for k in counts] == list(counts.values())
    assert [got[f"under_separated_{k}"] for k in (1, 2)] == [0, shares[0] > 0]


def test_true_sources_are_as_good_as_it_gets():
    clips, _ = scenes([2, 3, 2, 1])
    got = summarize_scenes(
        score_scenes(by_remix(np.eye(4, dtype=np.float32)), clips, batch_size=3), num_scenes=4
    )
    assert got["num_scenes_2"] == 2
    assert got["si_snri_channel_db_2"] > 60
    assert got["si_snri_group_db_3"] > 60
    assert got["si_snr_channel_db_1"] > 60
    assert got["si_snri_channel_db_2_low"] > 60


def test_groups_forgive_a_source_in_two_channels():
    clips, _ = scenes([2, 2])

    def cut_first(mixture, sources):
        beginning, end = tf.unstack(halves(sources[:, 0])[:, :2], axis=1)
        return tf.stack([beginning, end, sources[:, 1]], axis=1)

    for scene in score_scenes(cut_first, clips):
        assert min(scene.si_snri_group_db) > 60
        assert scene.si_snri_channel_db[0] < 5 < 60 < scene.si_snri_channel_db[1]
        assert scene.num_active_channels == 3


def test_clips_without_known_sources_are_refused():
    clips, _ = scenes([1, 2], known=False)
    with pytest.raises(SepconError, match="sources"):
        evaluate_separation(MeasuredSeparator(halves), clips)
