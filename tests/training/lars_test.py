"""LARS against the lines of SimCLR's code, written out in numpy."""

import keras
import numpy as np
import tensorflow as tf

from sepcon.training.optimizers import lars
from sepcon.training.schedules import cosine


def test_weights_move_as_in_the_code_of_simclr() -> None:
    rng = np.random.default_rng(0)
    start = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2), "gamma": np.zeros(2)}
    variables = [keras.Variable(value.astype(np.float32), name=n) for n, value in start.items()]
    optimizer = lars(learning_rate=0.5, momentum=0.8, weight_decay=0.1, trust=0.02)
    expected = {name: value.astype(np.float64) for name, value in start.items()}
    velocity = {name: np.zeros_like(value) for name, value in expected.items()}
    step = tf.function(
        lambda *gradients: optimizer.apply(list(gradients), variables), autograph=False
    )
    optimizer.build(variables)
    for _ in range(4):
        gradients = {name: rng.normal(size=value.shape) for name, value in start.items()}
        step(*[tf.constant(g, tf.float32) for g in gradients.values()])
        for name, gradient in gradients.items():
            rate = 0.5
            if name == "kernel":
                gradient = gradient + 0.1 * expected[name]
                norms = np.linalg.norm(expected[name]), np.linalg.norm(gradient)
                rate *= 0.02 * norms[0] / norms[1]
            velocity[name] = 0.8 * velocity[name] + rate * gradient
            expected[name] = expected[name] - velocity[name]
    for variable, value in zip(variables, expected.values(), strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-6)


def test_weights_and_gradients_of_zero_stay_finite() -> None:
    variables = [keras.Variable(np.zeros((2, 2), np.float32), name="kernel")]
    schedule = cosine(peak=1.0, total_steps=10, warmup_steps=2)
    optimizer = lars(learning_rate=schedule, weight_decay=0.0)
    optimizer.apply([tf.zeros((2, 2))], variables)
    np.testing.assert_array_equal(variables[0].numpy(), 0)
    optimizer.apply([tf.ones((2, 2))], variables)
    np.testing.assert_allclose(variables[0].numpy(), -1.0)
