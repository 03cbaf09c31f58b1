"""NT-Xent against SimCLR's Algorithm 1 in loops. Two replicas: see replicas_test.py."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.losses import contrastive
from sepcon.losses.contrastive import nt_xent


def algorithm_1(anchor, positive, temperature):
    """Loss of each pair: views 2k and 2k+1 are partners, every other view is a negative."""
    views = []
    for a, p in zip(np.float64(anchor), np.float64(positive), strict=True):
        views += [a, p]
    count = len(views)
    similarity = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            cosine = views[i] @ views[j] / np.linalg.norm(views[i]) / np.linalg.norm(views[j])
            similarity[i, j] = cosine / temperature

    def direction(i, j):
        total = sum(math.exp(similarity[i, k]) for k in range(count) if k != i)
        return -math.log(math.exp(similarity[i, j]) / total)

    return np.array(
        [(direction(2 * k, 2 * k + 1) + direction(2 * k + 1, 2 * k)) / 2 for k in range(count // 2)]
    )


def views(num_pairs=6, dim=5, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    anchor = rng.standard_normal((num_pairs, dim))
    positive = anchor + noise * rng.standard_normal((num_pairs, dim))
    return anchor.astype(np.float32), positive.astype(np.float32)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.2, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("num_pairs", [2, 3, 17])
def test_algorithm_1(temperature, num_pairs):
    anchor, positive = views(num_pairs)
    result = nt_xent(anchor=anchor, positive=positive, temperature=temperature)
    expected = algorithm_1(anchor, positive, temperature)
    np.testing.assert_allclose(result.loss, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_pairs=st.integers(2, 8),
    dim=st.integers(1, 6),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    temperature=st.floats(0.02, 2.0),
)
def test_views_and_pairs_are_symmetric_and_length_is_irrelevant(
    seed, num_pairs, dim, scale, temperature
):
    anchor, positive = views(num_pairs, dim, seed)
    loss = nt_xent(anchor=anchor, positive=positive, temperature=temperature).loss
    swapped = nt_xent(anchor=scale * positive, positive=anchor, temperature=temperature).loss
    np.testing.assert_allclose(swapped, loss, rtol=1e-4, atol=1e-4)
    order = np.random.default_rng(seed).permutation(num_pairs)
    moved = nt_xent(anchor=anchor[order], positive=positive[order], temperature=temperature).loss
    np.testing.assert_allclose(moved, loss.numpy()[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.025, 0.1, 2.0])
@pytest.mark.parametrize("replicas", [1, 2])
def test_many_pairs_at_once_are_the_same(monkeypatch, temperature, replicas):
    """Values and gradients of the forms for large batches, against float64 step by step."""
    anchor, positive = views(num_pairs=17)
    weights = np.linspace(0.5, 1.5, 17)

    def values(dtype):
        inputs = [tf.constant(each, dtype) for each in (anchor, positive)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            result = nt_xent(anchor=inputs[0], positive=inputs[1], temperature=temperature)
            total = tf.reduce_sum(result.loss * tf.constant(weights, dtype))
        return [*result, *tape.gradient(total, inputs)]

    exact = values(tf.float64)
    monkeypatch.setattr(contrastive, "_MANY_COSINES", 1)
    monkeypatch.setattr(contrastive, "num_replicas", lambda: replicas)
    for found, expected in zip(values(tf.float32), exact, strict=True):
        # Cosines are rounded to 1e-7, which the temperature multiplies.
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=5e-7 / temperature)
    equal = tf.ones([5, 3])
    assert np.all(nt_xent(anchor=equal, positive=equal).accuracy == 0)


@pytest.mark.parametrize("num_pairs", [2, 8, 100])
def test_equal_embeddings_are_at_chance(num_pairs):
    same = np.ones((num_pairs, 4), np.float32)
    result = nt_xent(anchor=same, positive=same)
    np.testing.assert_allclose(result.loss, math.log(2 * num_pairs - 1), rtol=1e-6)
    np.testing.assert_array_equal(result.accuracy, 0)


def test_orthogonal_pairs_have_the_analytic_loss():
    basis = np.eye(4, dtype=np.float32)
    result = nt_xent(anchor=basis, positive=basis, temperature=0.5)
    np.testing.assert_allclose(result.loss, math.log(1 + 6 * math.exp(-2)), rtol=1e-6)
    np.testing.assert_array_equal(result.accuracy, 1)


def test_accuracy_counts_both_directions():
    anchor = np.array([[1, 0], [0.9, 0.1], [-1, 0.3]], np.float32)
    positive = np.array([[0, 1], [0.9, 0.12], [-1, 0.2]], np.float32)
    stacked = np.concatenate([anchor, positive]).astype(np.float64)
    stacked /= np.linalg.norm(stacked, axis=1, keepdims=True)
    cosine = stacked @ stacked.T - 10 * np.eye(6)
    hit = cosine.argmax(axis=1) == [3, 4, 5, 0, 1, 2]
    result = nt_xent(anchor=anchor, positive=positive)
    np.testing.assert_array_equal(result.accuracy, (hit[:3] * 1.0 + hit[3:]) / 2)


def test_gradient_is_that_of_finite_differences():
    anchor, positive = (tf.constant(x, tf.float64) for x in views(4, 3))
    exact, numeric = tf.test.compute_gradient(
        lambda a, p: nt_xent(anchor=a, positive=p).loss, [anchor, positive], delta=1e-6
    )
    for ours, theirs in zip(exact, numeric, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_gradient_of_zero_projections_is_finite():
    zeros = tf.zeros([3, 4])
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        loss = nt_xent(anchor=zeros, positive=zeros).loss
    np.testing.assert_allclose(loss, math.log(5), rtol=1e-6)
    assert np.all(np.isfinite(tape.gradient(loss, zeros)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_eager_and_graph_agree_at_unknown_batch(jit_compile):
    unknown = tf.TensorSpec([None, 5], tf.float32)

    @tf.function(input_signature=[unknown, unknown], jit_compile=jit_compile)
    def graph(anchor, positive):
        return nt_xent(anchor=anchor, positive=positive)

    for num_pairs in (4, 7):
        anchor, positive = views(num_pairs)
        expected = nt_xent(anchor=anchor, positive=positive)
        actual = graph(anchor, positive)
        np.testing.assert_allclose(actual.loss, expected.loss, rtol=1e-5)
        np.testing.assert_array_equal(actual.accuracy, expected.accuracy)


def test_half_precision_is_computed_in_float32():
    halves = [tf.cast(x, tf.bfloat16) for x in views()]
    result = nt_xent(anchor=halves[0], positive=halves[1])
    expected = algorithm_1(*(tf.cast(x, tf.float32).numpy() for x in halves), 0.2)
    assert result.loss.dtype == tf.float32
    np.testing.assert_allclose(result.loss, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "kwargs,match",
    [
        ({"positive": np.ones((3, 4), np.float32)}, r"got \(2, 4\) and \(3, 4\)"),
        ({"temperature": 0.0}, "temperature must be positive, got 0"),
        ({"temperature": math.nan}, "temperature must be positive, got nan"),
    ],
)
def test_misuse_is_named(kwargs, match):
    pair = np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match=match):
        nt_xent(**({"anchor": pair, "positive": pair} | kwargs))


def test_a_single_pair_is_refused():
    with pytest.raises(ValueError, match="at least 2 pairs"):
        nt_xent(anchor=np.ones((1, 4), np.float32), positive=np.ones((1, 4), np.float32))
