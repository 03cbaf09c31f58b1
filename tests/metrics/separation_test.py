"""Separation metrics against projections, permutations and groupings tried one by one."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.metrics.separation import active_channels, si_snr, si_snr_improvement


def by_projection(reference, estimate):
    signal = reference * (estimate @ reference) / (reference @ reference)
    noise = estimate - signal
    return 10 * np.log10((signal @ signal) / (noise @ noise))


def scene(seed=0, num_references=2, num_channels=4, samples=400, noise=0.3):
    """References, and channels that each hold parts of all of them."""
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((num_references, samples))
    parts = rng.dirichlet(np.full(num_channels, 0.3), num_references).T
    estimate = parts @ reference + noise * rng.standard_normal((num_channels, samples))
    return reference, estimate


@pytest.mark.parametrize("noise", [3.0, 0.3, 1e-3])
def test_si_snr_is_the_projection_formula(noise):
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((3, 200))
    estimate = 0.1 * reference + noise * rng.standard_normal((3, 200))
    actual = si_snr(reference=reference, estimate=estimate)
    for k in range(3):
        assert actual[k] == pytest.approx(by_projection(reference[k], estimate[k]), abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3).filter(lambda gain: abs(gain) > 1e-3))
def test_si_snr_ignores_the_scale_of_both(seed, gain):
    reference, estimate = np.random.default_rng(seed).standard_normal((2, 50))
    plain = si_snr(reference=reference, estimate=estimate)
    assert si_snr(reference=reference, estimate=gain * estimate) == pytest.approx(plain)
    assert si_snr(reference=gain * reference, estimate=estimate) == pytest.approx(plain)


def test_si_snr_at_its_bounds():
    reference = np.random.default_rng(0).standard_normal(100)
    assert si_snr(reference=reference, estimate=-2 * reference) == pytest.approx(80, abs=1e-6)
    assert si_snr(reference=reference, estimate=np.zeros(100)) == pytest.approx(-80, abs=1e-6)
    assert si_snr(reference=np.zeros(100), estimate=reference) == pytest.approx(-80, abs=1e-6)


def test_zero_mean_is_the_score_without_offsets():
    reference, estimate = np.random.default_rng(1).standard_normal((2, 300))
    estimate = reference + 0.5 * estimate
    centred = [x - x.mean() for x in (reference, estimate)]
    expected = by_projection(*centred)
    arguments = {"reference": reference + 3, "estimate": estimate - 2}
    assert si_snr(**arguments, zero_mean=True) == pytest.approx(expected, abs=1e-4)
    assert abs(si_snr(**arguments) - expected) > 1
    scores = si_snr_improvement(
        reference=arguments["reference"][None],
        estimate=arguments["estimate"][None],
        zero_mean=True,
    )
    assert scores.si_snr_db[0] == pytest.approx(expected, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_references=st.integers(1, 3),
    extra=st.integers(0, 3),
)
def test_single_channels_are_the_best_permutation(seed, num_references, extra):
    num_channels = num_references + extra
    reference, estimate = scene(seed, num_references, num_channels)
    scores = si_snr_improvement(reference=reference, estimate=estimate)
    best = max(
        np.mean([by_projection(reference[k], estimate[m]) for k, m in enumerate(channels)])
        for channels in itertools.permutations(range(num_channels), num_references)
    )
    assert scores.si_snr_db.mean() == pytest.approx(best, abs=1e-3)
    baseline = [si_snr(reference=row, estimate=reference.sum(axis=0)) for row in reference]
    np.testing.assert_allclose(scores.improvement_db, scores.si_snr_db - baseline)
    used = scores.channel_to_reference
    assert sorted(used[used >= 0]) == list(range(num_references))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_references=st.integers(1, 3),
    extra=st.integers(0, 2),
)
def test_channel_groups_are_the_best_grouping(seed, num_references, extra):
    num_channels = num_references + extra
    reference, estimate = scene(seed, num_references, num_channels)
    scores = si_snr_improvement(reference=reference, estimate=estimate, matching="channel_groups")
    means = []
    for places in itertools.product(range(num_references), repeat=num_channels):
        groups = [estimate[np.array(places) == k].sum(axis=0) for k in range(num_references)]
        means.append(np.mean(si_snr(reference=reference, estimate=np.stack(groups))))
    assert scores.si_snr_db.mean() == pytest.approx(max(means), abs=1e-6)


def test_split_sources_are_whole_again_in_groups():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((2, 1000))
    halves = rng.standard_normal((2, 1000))
    estimate = np.stack([halves[0], reference[1] - halves[1], halves[1], reference[0] - halves[0]])
    arguments = {"reference": reference, "estimate": estimate}
    groups = si_snr_improvement(**arguments, matching="channel_groups")
    np.testing.assert_array_equal(groups.channel_to_reference, [0, 1, 1, 0])
    np.testing.assert_allclose(groups.si_snr_db, 80, atol=1e-3)
    assert si_snr_improvement(**arguments).si_snr_db.max() < 10


@pytest.mark.parametrize("matching", ["single_channels", "channel_groups"])
def test_silent_references_are_left_out(matching):
    reference, estimate = scene(num_references=2)
    silence = np.zeros_like(reference[:1])
    padded = np.concatenate([silence, reference[:1], silence, reference[1:]])
    plain = si_snr_improvement(reference=reference, estimate=estimate, matching=matching)
    scores = si_snr_improvement(reference=padded, estimate=estimate, matching=matching)
    np.testing.assert_array_equal(scores.active, [1, 3])
    np.testing.assert_allclose(scores.improvement_db, plain.improvement_db)
    renamed = np.array([1, 3, -1])[plain.channel_to_reference]
    np.testing.assert_array_equal(scores.channel_to_reference, renamed)


def test_mixture_as_estimate_improves_nothing():
    reference, _ = scene()
    mixture = reference.sum(axis=0)
    scores = si_snr_improvement(reference=reference, estimate=np.stack([mixture, mixture]))
    np.testing.assert_allclose(scores.improvement_db, 0, atol=1e-9)


def test_given_mixture_is_the_baseline():
    reference, estimate = scene()
    mixture = reference.sum(axis=0) + np.random.default_rng(5).standard_normal(400)
    scores = si_snr_improvement(reference=reference, estimate=estimate, mixture=mixture)
    baseline = [by_projection(row, mixture) for row in reference]
    np.testing.assert_allclose(scores.si_snr_db - scores.improvement_db, baseline, atol=1e-3)


def test_one_source_spread_over_channels():
    reference = np.random.default_rng(0).standard_normal((1, 200))
    estimate = np.array([[0.5], [0.3], [0.2]]) * reference
    scores = si_snr_improvement(reference=reference, estimate=estimate, matching="channel_groups")
    assert scores.si_snr_db[0] == pytest.approx(80, abs=1e-3)
    np.testing.assert_array_equal(scores.channel_to_reference, 0)


@pytest.mark.parametrize(
    "reference,estimate,match",
    [
        (np.ones((2, 5)), np.ones((2, 6)), r"got \(2, 5\) and \(2, 6\)"),
        (np.ones(5), np.ones((2, 5)), r"got \(5,\)"),
        (np.zeros((2, 5)), np.ones((2, 5)), "0 rows that are not silent, expected 1 to 2"),
        (np.eye(3), np.ones((2, 3)), "3 rows that are not silent, expected 1 to 2"),
        (np.ones((2, 5)), np.ones((17, 5)), r"2\^17 groupings"),
    ],
)
def test_bad_input_is_named(reference, estimate, match):
    with pytest.raises(ValueError, match=match):
        si_snr_improvement(reference=reference, estimate=estimate, matching="channel_groups")


def test_active_channels_are_those_above_the_quietest_reference_less_the_threshold():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((3, 500)) * [[1.0], [0.1], [0.0]]
    quiet = np.sqrt(np.mean(reference[1] ** 2))
    unit = np.ones((1, 500))
    levels_db = np.array([6.0, -19.9, -20.1, -60.0])
    estimate = quiet * 10 ** (levels_db[:, np.newaxis] / 20) * unit
    got = active_channels(reference=reference, estimate=estimate)
    np.testing.assert_array_equal(got, [True, True, False, False])
    wider = active_channels(reference=reference, estimate=estimate, threshold_db=30)
    np.testing.assert_array_equal(wider, [True, True, True, False])


def test_silent_channels_are_never_active():
    reference = np.array([[1.0, -1.0], [0.0, 0.0]])
    assert not active_channels(reference=reference, estimate=np.zeros((2, 2))).any()
    with pytest.raises(ValueError, match="not silent"):
        active_channels(reference=0 * reference, estimate=reference)
