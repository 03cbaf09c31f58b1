"""Patches become segments by the rule that the documents state."""

import numpy as np
import pytest
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.inference.sounds.segments import (
    SegmentRule,
    find_segments,
    level_db,
    mean_probabilities,
    patch_bounds,
)

NAMES = ("dog", "rain")


def found(dog, rain=0.0, *, audible=True, **rule):
    """Segments of patches of 1 s every second: (class, start, end, probability)."""
    dog = np.asarray(dog, np.float64)
    probabilities = np.stack([dog, np.broadcast_to(rain, dog.shape)], axis=1)
    segments = find_segments(
        probabilities,
        bounds=np.arange(len(dog) + 1.0),
        audible=np.broadcast_to(audible, dog.shape),
        class_names=NAMES,
        rule=SegmentRule(**{"max_gap_seconds": 0.0, "min_seconds": 0.0} | rule),
    )
    return [
        (each.class_name, each.start_seconds, each.end_seconds, round(each.probability, 6))
        for each in segments
    ]


def test_a_patch_stands_for_the_time_around_its_middle():
    # The last patch ends with the recording, less than a hop after the one before.
    bounds = patch_bounds(np.array([0.0, 1.0, 2.0, 2.4]), patch_seconds=2.0, seconds=4.4)
    np.testing.assert_allclose(bounds, [0.0, 1.5, 2.5, 3.2, 4.4])
    short = patch_bounds(np.array([0.0]), patch_seconds=2.0, seconds=0.3)
    np.testing.assert_allclose(short, [0.0, 0.3])


def test_neighbours_of_a_class_are_one_segment_with_their_mean_probability():
    assert found([0.5, 0.7, 0.49, 0.9]) == [("dog", 0, 2, 0.6), ("dog", 3, 4, 0.9)]
    assert found([0.1, 0.2]) == []
    assert found([0.3, 0.4], threshold=0.3) == [("dog", 0, 2, 0.35)]


def test_classes_may_sound_at_once_the_more_probable_comes_first():
    assert found([0.3, 0.3], [0.1, 0.6], threshold=0.3) == [("dog", 0, 2, 0.3), ("rain", 1, 2, 0.6)]
    assert found([0.3], 0.6, threshold=0.3) == [("rain", 0, 1, 0.6), ("dog", 0, 1, 0.3)]


def test_gaps_are_closed_up_to_their_length_and_do_not_count_in_the_mean():
    dog = [0.9, 0.1, 0.7, 0.1, 0.1, 0.8]
    assert found(dog, max_gap_seconds=1.0) == [("dog", 0, 3, 0.8), ("dog", 5, 6, 0.8)]
    assert found(dog, max_gap_seconds=2.0) == [("dog", 0, 6, 0.8)]


def test_short_segments_are_dropped_after_gaps_are_closed():
    assert found([0.9, 0.1, 0.9, 0.1, 0.1, 0.9], max_gap_seconds=1.0, min_seconds=3.0) == [
        ("dog", 0, 3, 0.9)
    ]
    # What fills a short recording is no fragment of anything longer.
    assert found([0.9], min_seconds=3.0) == [("dog", 0, 1, 0.9)]


def test_quiet_patches_have_no_class():
    audible = [True, False, True]
    assert found([0.9, 0.9, 0.9], audible=audible) == [("dog", 0, 1, 0.9), ("dog", 2, 3, 0.9)]
    assert found([0.9], audible=[False]) == []


def test_any_probabilities_have_the_segments_of_a_loop():
    """Against the rule written down patch by patch."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        dog = rng.uniform(size=rng.integers(1, 30))
        audible = rng.uniform(size=len(dog)) > 0.2
        gap, least = rng.integers(0, 4), rng.integers(0, 4)
        expected: list[list[int]] = []
        for patch in range(len(dog)):
            if dog[patch] >= 0.5 and audible[patch]:
                if expected and patch - expected[-1][-1] - 1 <= gap:
                    expected[-1].append(patch)
                else:
                    expected.append([patch])
        kept = [own for own in expected if own[-1] + 1 - own[0] >= min(least, len(dog))]
        told = [("dog", own[0], own[-1] + 1, round(dog[own].mean(), 6)) for own in kept]
        settings = {"max_gap_seconds": float(gap), "min_seconds": float(least)}
        assert found(dog, audible=audible, **settings) == told


def test_the_whole_has_the_probabilities_of_the_mean_of_the_logits():
    logits = np.random.default_rng(1).normal(0.0, 3.0, [2, 5, 4]).astype(np.float32)
    audible = np.array([True, False, True, True, True])
    of_members = tf.nn.softmax(logits[:, audible].mean(axis=1)).numpy()
    probabilities = tf.nn.softmax(logits).numpy()
    whole = mean_probabilities(probabilities, audible)
    np.testing.assert_allclose(whole, of_members.mean(axis=0), rtol=1e-5)
    certain = np.array([[[1.0, 0.0], [1.0, 0.0]]], np.float32)
    whole = mean_probabilities(certain, np.array([True, True]))
    np.testing.assert_allclose(whole, [1.0, 0.0], atol=1e-30)


def test_levels_are_in_decibels_and_silence_is_below_all_of_them():
    np.testing.assert_allclose(level_db([1.0, 0.01, 0.0], reference=0.1), [10.0, -10.0, -np.inf])
    np.testing.assert_array_equal(level_db([1.0, 0.0], reference=0.0), [np.inf, -np.inf])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_level_db", 30.0),
        ("min_level_db", float("nan")),
        ("threshold", 0.0),
        ("threshold", 50.0),
        ("max_gap_seconds", -1.0),
        ("min_seconds", float("inf")),
    ],
)
def test_a_setting_out_of_its_range_is_told(name, value):
    with pytest.raises(SepconError, match=f"^{name}: got {value:g}, expected "):
        SegmentRule(**{name: value})
