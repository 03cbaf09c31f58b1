"""Our Adam does what that of Keras does, in fewer operations."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.training.optimizers import adam, adamw
from sepcon.training.schedules import cosine


def weights_after_steps(optimizer: keras.optimizers.Optimizer) -> list[np.ndarray]:
    """What some weights and the optimizer's own hold after five steps in a graph."""
    generator = np.random.default_rng(0)
    kernel = keras.Variable(generator.normal(size=(7, 5)), dtype="float32", name="kernel")
    bias = keras.Variable(generator.normal(size=(5,)), dtype="float32", name="bias")
    optimizer.build([kernel, bias])
    inputs = tf.constant(generator.normal(size=(5, 3, 7)), tf.float32)

    @tf.function
    def step(batch: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.tanh(tf.matmul(batch, kernel.value) + bias.value) ** 2)
        optimizer.apply(tape.gradient(loss, [kernel.value, bias.value]), [kernel, bias])

    for batch in inputs:
        step(batch)
    return [variable.numpy() for variable in (kernel, bias, *optimizer.variables)]


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("decayed", [False, True])
def test_adam_gives_the_weights_of_keras_to_the_bit(scheduled: bool, decayed: bool) -> None:
    rate = cosine(peak=0.01, total_steps=8, warmup_steps=2) if scheduled else 0.01
    options = {"learning_rate": rate, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6}
    if decayed:
        ours, of_keras = (
            adamw(weight_decay=0.1, **options),
            keras.optimizers.AdamW(weight_decay=0.1, **options),
        )
        of_keras.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    else:
        ours, of_keras = adam(**options), keras.optimizers.Adam(**options)

    found, expected = weights_after_steps(ours), weights_after_steps(of_keras)

    # 2 weights, their 2 moments each, the step, and the rate where no schedule gives it.
    assert len(found) == len(expected) == 8 - scheduled
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, other)


def test_its_variables_are_called_as_those_of_keras() -> None:
    """Checkpoints find them by these names."""
    weight = keras.Variable(np.ones(2), name="weight")
    for ours, of_keras in (
        (adam(learning_rate=0.1), keras.optimizers.Adam(0.1)),
        (adamw(learning_rate=0.1, weight_decay=0.1), keras.optimizers.AdamW(0.1)),
    ):
        for optimizer in (ours, of_keras):
            optimizer.build([weight])
        assert paths(ours) == paths(of_keras)


def paths(optimizer: keras.optimizers.Optimizer) -> list[str]:
    """Without the number that Keras gives to the second optimizer of a kind in a process."""
    return [re.sub(r"_\d+/", "/", variable.path) for variable in optimizer.variables]
