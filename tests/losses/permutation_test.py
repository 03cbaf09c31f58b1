"""Permutation invariant training against loops over all permutations in float64."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from sepcon.losses.permutation import permutation_invariant_loss


def pair_loss(reference, estimate, mixture, max_snr_db=30.0, silent_max_snr_db=20.0):
    """The formula of one estimate and its reference."""
    if np.any(reference):
        error = np.sum((reference - estimate) ** 2)
        slack = 10 ** (-max_snr_db / 10) * np.sum(reference**2)
    else:
        error = np.sum(estimate**2)
        slack = 10 ** (-silent_max_snr_db / 10) * np.sum(mixture**2)
    return 10 * np.log10(error + slack + 1e-8)


def padded_losses(reference, estimate, mixture, **thresholds):
    """[source, source]: each estimate against the references and silence, in float64."""
    reference, estimate = np.float64(reference), np.float64(estimate)
    missing = len(estimate) - len(reference)
    reference = np.concatenate([reference, np.zeros((missing, reference.shape[1]))])
    return np.array(
        [[pair_loss(x, s, np.float64(mixture), **thresholds) for x in reference] for s in estimate]
    )


def by_permutations(reference, estimate, mixture, **thresholds):
    losses = padded_losses(reference, estimate, mixture, **thresholds)
    sources = range(len(losses))
    return min(
        np.mean([losses[m, n] for m, n in enumerate(order)])
        for order in itertools.permutations(sources)
    )


def scene(seed, *, num_references, num_sources, snr_db=10.0, batch=3, samples=200, silent=()):
    """References in a random order among the estimates, with noise; the others are faint."""
    rng = np.random.default_rng(seed)
    level = 10 ** rng.uniform(-1.5, 0, (batch, num_references, 1))
    reference = level * rng.standard_normal((batch, num_references, samples))
    reference[:, list(silent)] = 0
    place = np.array([rng.permutation(num_sources) for _ in range(batch)])  # [batch, source]
    padded = np.zeros((batch, num_sources, samples))
    padded[:, :num_references] = reference
    estimate = np.take_along_axis(padded, place[..., np.newaxis], axis=1)
    noise = 10 ** (-snr_db / 20) * 0.2 * rng.standard_normal(estimate.shape)
    sounds = np.any(padded, axis=2)
    place = np.where(np.take_along_axis(sounds, place, axis=1), place, -1)
    return np.float32(reference), np.float32(estimate + noise), place


SHAPES = [(1, 1), (1, 3), (2, 2), (2, 4), (3, 3), (4, 4), (4, 6), (6, 6)]


@pytest.mark.parametrize("num_references, num_sources", SHAPES)
@pytest.mark.parametrize("snr_db", [-10.0, 10.0, 60.0])
def test_all_permutations(num_references, num_sources, snr_db):
    reference, estimate, _ = scene(
        num_sources, num_references=num_references, num_sources=num_sources, snr_db=snr_db
    )
    result = permutation_invariant_loss(reference=reference, estimate=estimate)
    expected = [
        by_permutations(x, s, x.sum(axis=0)) for x, s in zip(reference, estimate, strict=True)
    ]
    np.testing.assert_allclose(result.loss, expected, rtol=0, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    snr_db=st.floats(-20, 80),
    silent=st.sets(st.integers(0, 2)),
    gain=st.sampled_from([1e-4, 1.0, 300.0]),
    thresholds=st.sampled_from([(30.0, 20.0), (10.0, 40.0)]),
)
def test_any_signal(seed, snr_db, silent, gain, thresholds):
    reference, estimate, _ = scene(
        seed, num_references=3, num_sources=4, snr_db=snr_db, silent=silent
    )
    reference, estimate = np.float32(gain) * reference, np.float32(gain) * estimate
    mixture = np.float32(gain) * np.random.default_rng(0).standard_normal((3, 200))
    names = dict(zip(("max_snr_db", "silent_max_snr_db"), thresholds, strict=True))
    result = permutation_invariant_loss(
        reference=reference, estimate=estimate, mixture=mixture, **names
    )
    expected = [
        by_permutations(*row, **names) for row in zip(reference, estimate, mixture, strict=True)
    ]
    np.testing.assert_allclose(result.loss, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("num_references, num_sources", [(8, 8), (3, 16), (16, 16)])
def test_many_estimates_against_the_hungarian_method(num_references, num_sources):
    reference, estimate, _ = scene(
        1, num_references=num_references, num_sources=num_sources, snr_db=-6.0, samples=30
    )
    result = permutation_invariant_loss(reference=reference, estimate=estimate)
    for b in range(len(reference)):
        losses = padded_losses(reference[b], estimate[b], reference[b].sum(axis=0))
        best = losses[linear_sum_assignment(losses)].mean()
        assert float(result.loss[b]) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("num_references, num_sources, silent", [(4, 4, ()), (3, 5, (1,))])
def test_the_permutation_is_recovered(num_references, num_sources, silent):
    reference, estimate, place = scene(
        2, num_references=num_references, num_sources=num_sources, snr_db=30.0, silent=silent
    )
    result = permutation_invariant_loss(reference=reference, estimate=estimate)
    np.testing.assert_array_equal(result.place, place)
    assert result.place.dtype == tf.int32


def test_rows_of_zeros_are_as_good_as_none():
    reference, estimate, _ = scene(3, num_references=2, num_sources=4)
    padded = np.pad(reference, [[0, 0], [0, 2], [0, 0]])
    for rows in (padded, padded[:, [2, 0, 3, 1]]):
        result = permutation_invariant_loss(reference=rows, estimate=estimate)
        plain = permutation_invariant_loss(reference=reference, estimate=estimate)
        np.testing.assert_allclose(result.loss, plain.loss, atol=1e-5)


def test_perfect_and_silent_estimates_are_at_their_thresholds():
    reference, _, _ = scene(4, num_references=2, num_sources=2)
    estimate = np.pad(reference, [[0, 0], [1, 0], [0, 0]])
    loss = permutation_invariant_loss(reference=reference, estimate=estimate).loss
    energy = np.sum(np.float64(reference) ** 2, axis=2)
    mixture = np.sum(np.float64(reference).sum(axis=1) ** 2, axis=1)
    level = 10 * np.log10(np.stack([*(1e-3 * energy.T), 1e-2 * mixture]))
    np.testing.assert_allclose(loss, level.mean(axis=0), atol=1e-4)


def test_everything_silent_is_finite_and_still():
    silence = tf.zeros([1, 3, 50])
    with tf.GradientTape() as tape:
        tape.watch(silence)
        result = permutation_invariant_loss(reference=silence, estimate=silence)
    np.testing.assert_allclose(result.loss, -80, atol=1e-4)
    np.testing.assert_array_equal(result.place, -1)
    np.testing.assert_array_equal(tape.gradient(result.loss, silence), 0)


def test_gradient_is_that_of_the_winner_alone():
    reference, estimate, _ = scene(5, num_references=2, num_sources=3)
    variable = tf.constant(estimate)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        result = permutation_invariant_loss(reference=reference, estimate=variable)
    got = tape.gradient(result.loss, variable)
    for b, m in np.ndindex(3, 3):
        row = result.place.numpy()[b, m]
        x = np.float64(reference[b, row]) if row >= 0 else np.zeros(200)
        mixture = np.float64(reference[b]).sum(axis=0)
        error = np.float64(estimate[b, m]) - x
        slack = 1e-3 * (x @ x) if row >= 0 else 1e-2 * (mixture @ mixture)
        expected = 20 / np.log(10) * error / (error @ error + slack + 1e-8) / 3
        np.testing.assert_allclose(got[b, m], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(None, None), (3, 200)])
def test_graph_and_eager_agree(jit_compile, shape):
    batch, samples = shape
    signature = [tf.TensorSpec([batch, rows, samples], tf.float32) for rows in (3, 4)]

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def graph(reference, estimate):
        return permutation_invariant_loss(reference=reference, estimate=estimate)

    reference, estimate, _ = scene(6, num_references=3, num_sources=4, silent=(2,))
    eager = permutation_invariant_loss(reference=reference, estimate=estimate)
    got = graph(reference, estimate)
    np.testing.assert_allclose(got.loss, eager.loss, atol=1e-4)
    np.testing.assert_array_equal(got.place, eager.place)


def test_float64_stays():
    reference, estimate, _ = scene(7, num_references=2, num_sources=2, snr_db=100.0)
    reference, estimate = np.float64(reference), np.float64(estimate)
    result = permutation_invariant_loss(
        reference=reference, estimate=estimate, mixture=np.float32(reference.sum(axis=1))
    )
    assert result.loss.dtype == tf.float64
    for b in range(3):
        expected = by_permutations(reference[b], estimate[b], reference[b].sum(axis=0))
        assert float(result.loss[b]) == pytest.approx(expected, abs=1e-9)


def test_nan_is_not_hidden():
    reference, estimate, _ = scene(8, num_references=2, num_sources=3)
    estimate[0, 1, 5] = np.nan
    loss = permutation_invariant_loss(reference=reference, estimate=estimate).loss.numpy()
    assert np.isnan(loss[0])
    assert np.isfinite(loss[1:]).all()


@pytest.mark.parametrize(
    "kwargs, match",
    [
        ({"reference": np.zeros((2, 100))}, "reference must be .batch, reference, samples"),
        ({"estimate": np.zeros((2, 4, 99))}, "agree in batch and samples"),
        ({"mixture": np.zeros((2, 99))}, "agree in batch and samples"),
        ({"reference": np.zeros((2, 5, 100))}, "5 rows and estimate 4"),
        ({"estimate": np.zeros((2, 400, 100))}, "of their 80201 sets at most 65536"),
    ],
)
def test_misuse_is_named(kwargs, match):
    arguments = {"reference": np.zeros((2, 2, 100)), "estimate": np.zeros((2, 4, 100))} | kwargs
    with pytest.raises(ValueError, match=match):
        permutation_invariant_loss(**arguments)
