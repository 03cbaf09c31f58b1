"""Our optimizers do what those of Keras do, in operations that many weights share."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.models.graphs.operations import called_graphs
from sepcon.training import flat_vectors
from sepcon.training.optimizers import adam, adamw, sgd
from sepcon.training.schedules import cosine
from sepcon.training.step import StepFunction

# They move no number: shapes, views of the same memory, variables.
_FREE = {"Const", "Identity", "IdentityN", "Reshape", "Placeholder", "NoOp", "ReadVariableOp"}
_FREE |= {"AssignVariableOp", "PartitionedCall", "StatefulPartitionedCall"}


def weights_after_steps(optimizer: keras.optimizers.Optimizer) -> list[np.ndarray]:
    """What some weights and the optimizer's own hold after five steps in a graph."""
    generator = np.random.default_rng(0)
    kernel = keras.Variable(generator.normal(size=(7, 5)), dtype="float32", name="kernel")
    bias = keras.Variable(generator.normal(size=(5,)), dtype="float32", name="bias")
    optimizer.build([kernel, bias])
    inputs = tf.constant(generator.normal(size=(5, 3, 7)), tf.float32)

    @tf.function(autograph=False)
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


@pytest.mark.parametrize("options", [{"momentum": 0.0}, {}, {"nesterov": True}])
def test_sgd_gives_the_weights_of_keras_to_the_bit(options: dict) -> None:
    ours = sgd(learning_rate=0.1, **options)
    of_keras = keras.optimizers.SGD(0.1, **{"momentum": 0.9, **options})
    for own, other in zip(weights_after_steps(ours), weights_after_steps(of_keras), strict=True):
        np.testing.assert_array_equal(own, other)


def test_weights_in_several_vectors_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = weights_after_steps(adam(learning_rate=0.01))
    monkeypatch.setattr(flat_vectors, "_LEAST_VECTOR", 1)
    for own, other in zip(weights_after_steps(adam(learning_rate=0.01)), expected, strict=True):
        np.testing.assert_array_equal(own, other)


class _ManyWeights:
    """A task that has a lot of weights and next to no operations."""

    def __init__(self, count: int) -> None:
        self.model = keras.Model()
        for place in range(count):
            self.model.add_weight(shape=(3, 1 + place % 5), name=f"weight_{place}")
        self.model.built = True

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        squares = [tf.nn.l2_loss(each.value) for each in self.model.trainable_variables]
        return {"loss": tf.add_n(squares) * tf.reduce_sum(batch["x"])}


@pytest.mark.parametrize("decayed", [False, True])
def test_a_step_has_few_operations_beyond_loss_and_gradient(decayed: bool) -> None:
    """However many weights there are; none of them on the host."""
    task = _ManyWeights(200)
    optimizer = adamw(learning_rate=0.1, weight_decay=0.1) if decayed else adam(learning_rate=0.1)
    optimizer.build(task.model.trainable_variables)
    step = StepFunction(
        task=task,
        optimizer=optimizer,
        strategy=tf.distribute.get_strategy(),
        gradient_clip_norm=1.0,
    )
    batches = iter(tf.data.Dataset.from_tensors({"x": tf.ones([4])}).repeat())
    whole = operations(step._call.get_concrete_function(batches, tf.constant(2)).graph)
    gradients = tf.function(step._compute_gradients, autograph=False)
    inner = operations(gradients.get_concrete_function({"x": tf.TensorSpec([4])}).graph)
    assert len(inner) > 200
    assert len(whole) - len(inner) <= 100
    assert not [kind for kind in whole if "PyFunc" in kind]


def operations(graph: Any) -> list[str]:
    """The types of all operations that compute something, in a graph and in what it calls."""
    kinds = []
    for operation in graph.get_operations():
        kinds += [] if operation.type in _FREE else [operation.type]
        for _, called in called_graphs(graph, operation):
            kinds += operations(called)
    return kinds


def test_its_variables_are_called_as_those_of_keras() -> None:
    """Checkpoints find them by these names."""
    weight = keras.Variable(np.ones(2), name="weight")
    for ours, of_keras in (
        (adam(learning_rate=0.1), keras.optimizers.Adam(0.1)),
        (adamw(learning_rate=0.1, weight_decay=0.1), keras.optimizers.AdamW(0.1)),
        (sgd(learning_rate=0.1), keras.optimizers.SGD(0.1, momentum=0.9)),
    ):
        for optimizer in (ours, of_keras):
            optimizer.build([weight])
        assert paths(ours) == paths(of_keras)


def paths(optimizer: keras.optimizers.Optimizer) -> list[str]:
    """Without the number that Keras gives to the second optimizer of a kind in a process."""
    return [re.sub(r"_\d+/", "/", variable.path) for variable in optimizer.variables]
