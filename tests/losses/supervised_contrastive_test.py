"""Supervised contrastive loss against loops over anchors. Two replicas: see replicas_test.py."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.losses.contrastive import nt_xent
from sepcon.losses.supervised_contrastive import supervised_contrastive


def by_loops(projection, label, temperature):
    """Equation 2 of the paper, anchor by anchor; [batch]."""
    batch, views, _ = projection.shape
    places = [(i, v) for i in range(batch) for v in range(views)]
    unit = {}
    for i, v in places:
        vector = np.float64(projection[i, v])
        unit[i, v] = vector / np.linalg.norm(vector)
    losses = np.zeros((batch, views))
    for anchor in places:
        others = [place for place in places if place != anchor]
        positives = [place for place in others if label[place[0]] == label[anchor[0]]]
        total = sum(math.exp(unit[anchor] @ unit[place] / temperature) for place in others)
        for place in positives:
            share = math.exp(unit[anchor] @ unit[place] / temperature) / total
            losses[anchor] -= math.log(share) / len(positives)
    return losses.mean(axis=1)


def examples(batch=7, views=1, dim=5, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, batch).astype(np.int32)
    projection = rng.standard_normal((batch, views, dim)).astype(np.float32)
    return projection + rng.standard_normal((classes, 1, dim)).astype(np.float32)[label], label


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(2, 8),
    views=st.integers(1, 3),
    classes=st.integers(1, 5),
    temperature=st.sampled_from([0.05, 0.2, 1.0]),
)
def test_the_equation_in_loops(seed, batch, views, classes, temperature):
    projection, label = examples(batch, views, 5, classes, seed)
    loss = supervised_contrastive(projection=projection, label=label, temperature=temperature)
    np.testing.assert_allclose(loss, by_loops(projection, label, temperature), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_one_positive_each_is_nt_xent(temperature):
    projection, _ = examples(views=2)
    label = np.arange(len(projection))
    loss = supervised_contrastive(projection=projection, label=label, temperature=temperature)
    pairs = nt_xent(
        anchor=projection[:, 0], positive=projection[:, 1], temperature=temperature
    ).loss
    np.testing.assert_allclose(loss, pairs, rtol=1e-5, atol=1e-5)


def test_an_anchor_without_positive_contributes_nothing():
    projection, _ = examples(batch=4)
    label = np.array([0, 0, 1, 2])
    variable = tf.constant(projection)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = supervised_contrastive(projection=variable, label=label)
    np.testing.assert_array_equal(loss[2:], 0.0)
    assert np.all(loss[:2] > 0)
    # The lonely ones are still pushed away by the others.
    assert np.abs(tape.gradient(loss, variable)).max() > 0


@pytest.mark.parametrize("views", [1, 2])
def test_a_batch_of_one_example_is_finite(views):
    projection, label = examples(batch=1, views=views)
    variable = tf.constant(projection)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = supervised_contrastive(projection=variable, label=label)
    np.testing.assert_allclose(loss, 0.0, atol=1e-6)
    assert np.all(np.isfinite(tape.gradient(loss, variable)))


def test_equal_projections_are_at_chance():
    loss = supervised_contrastive(projection=np.ones((6, 1, 4), np.float32), label=np.zeros(6, int))
    np.testing.assert_allclose(loss, math.log(5), rtol=1e-6)


def test_order_of_examples_and_names_of_classes_do_not_matter():
    projection, label = examples(batch=9, views=2)
    loss = supervised_contrastive(projection=projection, label=label).numpy()
    order = np.random.default_rng(1).permutation(9)
    moved = supervised_contrastive(
        projection=3.0 * projection[order], label=np.array([7, 2, 5])[label][order]
    )
    np.testing.assert_allclose(moved, loss[order], rtol=1e-4, atol=1e-4)


def test_gradient_is_that_of_finite_differences():
    projection, label = examples(batch=5, views=2)
    exact, numeric = tf.test.compute_gradient(
        lambda x: supervised_contrastive(projection=x, label=label, temperature=0.5),
        [tf.constant(projection, tf.float64)],
        delta=1e-6,
    )
    np.testing.assert_allclose(exact[0], numeric[0], atol=1e-7)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_eager_and_graph_agree_at_unknown_batch(jit_compile):
    @tf.function(
        input_signature=[tf.TensorSpec([None, 2, 5]), tf.TensorSpec([None], tf.int32)],
        jit_compile=jit_compile,
    )
    def graph(projection, label):
        return supervised_contrastive(projection=projection, label=label)

    for batch in (4, 7):
        projection, label = examples(batch, 2)
        expected = supervised_contrastive(projection=projection, label=label)
        np.testing.assert_allclose(graph(projection, label), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_computed_in_float32():
    projection, label = examples()
    half = tf.cast(projection, tf.bfloat16)
    loss = supervised_contrastive(projection=half, label=label, temperature=0.2)
    assert loss.dtype == tf.float32
    expected = by_loops(tf.cast(half, tf.float32).numpy(), label, 0.2)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"projection": np.ones((3, 4), np.float32)}, r"got \(3, 4\) and \(3,\)"),
        ({"label": np.zeros((3, 1), np.int32)}, r"got \(3, 1, 4\) and \(3, 1\)"),
        ({"temperature": 0.0}, "temperature must be positive, got 0"),
    ],
)
def test_arguments_that_do_not_fit(changes, message):
    arguments = {"projection": np.ones((3, 1, 4), np.float32), "label": np.zeros(3, np.int32)}
    with pytest.raises(ValueError, match=message):
        supervised_contrastive(**(arguments | changes))
