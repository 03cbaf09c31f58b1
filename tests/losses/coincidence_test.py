"""Coincidence loss against its formula in loops. Two replicas: see replicas_test.py."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sepcon.losses.coincidence import coincidence_loss


def by_loops(logits, row_offset=0):
    rows, columns = logits.shape
    losses = []
    for i in range(rows):
        total = 0.0
        for j in range(columns):
            probability = 1 / (1 + math.exp(-float(logits[i, j])))
            if j == i + row_offset:
                total -= math.log(probability)
            else:
                total -= math.log(1 - probability) / (columns - 1)
        losses.append(total)
    return losses


@settings(max_examples=50, deadline=None)
@given(
    logits=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
        elements=st.floats(-15, 15, width=32),
    ),
    data=st.data(),
)
def test_formula(logits, data):
    logits = logits[: min(logits.shape)]
    row_offset = data.draw(st.integers(0, logits.shape[1] - logits.shape[0]))
    loss = coincidence_loss(logits=tf.constant(logits), row_offset=row_offset)
    np.testing.assert_allclose(loss, by_loops(np.float64(logits), row_offset), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch", [2, 5, 64])
def test_chance(batch):
    loss = coincidence_loss(logits=tf.zeros([batch, batch]))
    np.testing.assert_allclose(loss, 2 * math.log(2), rtol=1e-6)


def test_extreme_logits_are_finite():
    right = 1e4 * (2 * tf.eye(4) - 1)
    np.testing.assert_array_equal(coincidence_loss(logits=right), 0)
    np.testing.assert_allclose(coincidence_loss(logits=-right), 2e4)
    with tf.GradientTape() as tape:
        tape.watch(right)
        loss = coincidence_loss(logits=-right)
    assert np.all(np.isfinite(tape.gradient(loss, right)))


def test_gradient_balances_positives_and_negatives():
    logits = tf.zeros([4, 4], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = coincidence_loss(logits=logits)
    expected = 0.5 * ((1 - np.eye(4)) / 3 - np.eye(4))
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-12)


def test_rows_do_not_depend_on_how_they_are_split():
    logits = tf.random.stateless_normal([6, 6], [1, 2])
    whole = coincidence_loss(logits=logits)
    parts = [coincidence_loss(logits=logits[i : i + 2], row_offset=i) for i in (0, 2, 4)]
    np.testing.assert_allclose(tf.concat(parts, axis=0), whole, rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_eager_and_graph_agree_at_unknown_batch(jit_compile):
    specs = [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([], tf.int32)]

    @tf.function(input_signature=specs, jit_compile=jit_compile)
    def graph(logits, row_offset):
        return coincidence_loss(logits=logits, row_offset=row_offset)

    logits = tf.random.stateless_normal([3, 9], [1, 2])
    expected = coincidence_loss(logits=logits, row_offset=4)
    np.testing.assert_allclose(graph(logits, 4), expected, rtol=1e-5)


def test_half_precision_is_computed_in_float32():
    logits = tf.cast(tf.random.stateless_normal([3, 3], [1, 2]), tf.bfloat16)
    loss = coincidence_loss(logits=logits)
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, by_loops(tf.cast(logits, tf.float32).numpy()), rtol=1e-5)


def test_batch_of_one_is_refused():
    with pytest.raises(ValueError, match="global batch of at least 2"):
        coincidence_loss(logits=tf.zeros([1, 1]))

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def graph(logits):
        return coincidence_loss(logits=logits)

    assert np.isnan(graph(tf.zeros([1, 1]))).all()
