"""Random numbers in numpy against TensorFlow's, to the bit."""

import numpy as np
import pytest
import tensorflow as tf

from sepcon.data.random_order.stateless import fold_in, fold_in_each, integers, uniforms

SEEDS = [(0, 0), (1, 2), (-1, 7), (2**62 + 12345, 10**12), (-(2**63), 2**63 - 1)]
folded = tf.random.experimental.stateless_fold_in


@pytest.mark.parametrize("count", [0, 1, 4, 5, 23])
def test_uniforms_are_those_of_tensorflow(count: int) -> None:
    got = uniforms(np.asarray(SEEDS, np.int64), count)
    assert (got.dtype, got.shape) == (np.float32, (len(SEEDS), count))
    for row, seed in zip(got, SEEDS, strict=True):
        expected = tf.random.stateless_uniform([count], tf.constant(seed, tf.int64), alg="philox")
        np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_integers_and_folding_are_those_of_tensorflow(seed: tuple[int, int]) -> None:
    tensor = tf.constant(seed, tf.int64)
    expected = tf.random.stateless_uniform([7], tensor, None, None, tf.int64, alg="philox")
    np.testing.assert_array_equal(integers(seed, 7), expected)
    for number in (1, 2):
        assert fold_in(seed, number) == tuple(folded(tensor, number).numpy())
    numbers = np.asarray([0, 5, 10**10])
    for row, number in zip(fold_in_each(seed, numbers), numbers, strict=True):
        np.testing.assert_array_equal(row, folded(tensor, tf.constant(number, tf.int64)))
    narrow = fold_in(seed, 2)  # int32, which TensorFlow widens with its sign
    expected = folded(tf.constant(narrow, tf.int32), tf.constant(3, tf.int64))
    np.testing.assert_array_equal(fold_in_each(narrow, np.asarray([3]))[0], expected)
