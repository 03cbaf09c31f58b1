"""Learning rates against formulas evaluated step by step in plain Python."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.training.optimizers import adam, adamw, sgd
from sepcon.training.schedules import by_epoch, constant, cosine, step_decay

STEPS = [0, 1, 3, 4, 5, 9, 10, 11, 24, 49, 50, 51, 100, 1000]


def warmup(step, warmup_steps):
    return 1.0 if step + 1 >= warmup_steps else (step + 1) / warmup_steps


def cosine_by_hand(step, peak, total, warmup_steps, final):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if step >= total:
        return final
    angle = math.pi * (step - warmup_steps) / (total - warmup_steps)
    return final + (peak - final) * (1 + math.cos(angle)) / 2


@pytest.mark.parametrize("warmup_steps, final", [(0, 0.0), (1, 0.0), (5, 0.001), (10, 0.1)])
def test_cosine(warmup_steps, final):
    schedule = cosine(peak=0.1, total_steps=50, warmup_steps=warmup_steps, final=final)
    for step in STEPS:
        expected = cosine_by_hand(step, 0.1, 50, warmup_steps, final)
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_constant():
    for step in STEPS:
        assert float(constant(rate=0.3)(step)) == pytest.approx(0.3)
        expected = 0.3 * warmup(step, 10)
        assert float(constant(rate=0.3, warmup_steps=10)(step)) == pytest.approx(expected)


@pytest.mark.parametrize("warmup_steps", [0, 4])
def test_step_decay(warmup_steps):
    schedule = step_decay(initial=0.2, boundaries=[10, 50], factor=0.5, warmup_steps=warmup_steps)
    for step in STEPS:
        passed = sum(step >= boundary for boundary in (10, 50))
        expected = 0.2 * warmup(step, warmup_steps) * 0.5**passed
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)


def test_no_boundaries():
    assert float(step_decay(initial=0.2, boundaries=[])(7)) == pytest.approx(0.2)


def test_the_same_inside_a_function():
    schedule = cosine(peak=0.1, total_steps=50, warmup_steps=5)
    traced = tf.function(schedule, input_signature=[tf.TensorSpec([], tf.int64)])
    for step in STEPS:
        assert float(traced(tf.constant(step, tf.int64))) == pytest.approx(float(schedule(step)))
        assert traced(tf.constant(step, tf.int64)).dtype == tf.float32


@pytest.mark.parametrize(
    "make, moved",
    [
        (lambda rate: sgd(learning_rate=rate, momentum=0.0), lambda rates: sum(rates)),
        # With a constant gradient every step of Adam is as long as the learning rate.
        (lambda rate: adam(learning_rate=rate), lambda rates: sum(rates)),
        (lambda rate: adamw(learning_rate=rate, weight_decay=0.5), None),
    ],
)
def test_in_an_optimizer(make, moved):
    schedule = cosine(peak=0.1, total_steps=8, warmup_steps=2)
    optimizer = make(schedule)
    kernel = keras.Variable(np.array([5.0], np.float32), name="kernel")
    bias = keras.Variable(np.array([5.0], np.float32), name="bias")
    optimizer.build([kernel, bias])
    rates = [float(schedule(step)) for step in range(6)]
    expected = {"kernel": 5.0, "bias": 5.0}
    for rate in rates:
        optimizer.apply([tf.constant([1.0]), tf.constant([1.0])])
        if moved is None:
            expected["kernel"] -= rate * 0.5 * expected["kernel"]
        expected = {name: value - rate for name, value in expected.items()}
    assert float(kernel.numpy()[0]) == pytest.approx(expected["kernel"], rel=1e-5)
    assert float(bias.numpy()[0]) == pytest.approx(expected["bias"], rel=1e-5)


def test_momentum():
    optimizer = sgd(learning_rate=0.1, momentum=0.5)
    weight = keras.Variable(np.array([0.0], np.float32))
    optimizer.build([weight])
    for _ in range(3):
        optimizer.apply([tf.constant([1.0])])
    # velocities 0.1, 0.15, 0.175
    assert float(weight.numpy()[0]) == pytest.approx(-0.425)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: constant(rate=0.0), "rate must be positive, got 0"),
        (lambda: constant(rate=0.1, warmup_steps=-1), "warmup_steps must not be negative"),
        (lambda: cosine(peak=0.1, total_steps=5, warmup_steps=5), "total_steps must exceed"),
        (lambda: cosine(peak=0.1, total_steps=5, final=0.2), "final must lie in 0 ... peak=0.1"),
        (lambda: step_decay(initial=0.1, boundaries=[5, 3]), "boundaries must ascend"),
        (lambda: step_decay(initial=0.1, boundaries=[5], factor=0), "factor must be positive"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("warmup_epochs", [0, 4, 10])
def test_by_epoch(warmup_epochs):
    schedule = by_epoch(peak=0.2, steps_per_epoch=5, warmup_epochs=warmup_epochs)
    for step in STEPS:
        epoch = step // 5
        expected = 0.2 * 0.98 ** (epoch - warmup_epochs)
        if epoch < warmup_epochs:
            expected = 0.2 * (0.19 + (1 - 0.19) * epoch / (warmup_epochs - 1))
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)


def test_by_epoch_has_the_rates_of_the_authors():
    """Their epochs 0, 9, 10 and 11 at a learning rate of 5e-4."""
    schedule = by_epoch(peak=5e-4, steps_per_epoch=1)
    rates = [float(schedule(epoch)) for epoch in (0, 9, 10, 11)]
    assert rates == pytest.approx([0.95e-4, 5e-4, 5e-4, 4.9e-4])


def test_by_epoch_needs_steps():
    with pytest.raises(ValueError, match="steps_per_epoch must be positive, got 0"):
        by_epoch(peak=1.0, steps_per_epoch=0)
