"""The lint finds what must not be in a step, wherever it hides, and lets a good task pass."""

import re

import keras
import pytest
import tensorflow as tf
from toy_training import ToyStream, ToyTask

from sepcon.doctor.graph_lint import lint_graph, lint_task


def lint(function):
    traced = tf.function(function, autograph=False)
    return lint_graph(traced.get_concrete_function(tf.TensorSpec([4, 6])).graph)


def test_good_task():
    spec = ToyStream().batches(0).element_spec
    assert lint_task(ToyTask(), spec) == []


def test_task_with_data_dependent_shape():
    task = ToyTask()
    task.loss = lambda batch, training: {
        "loss": tf.reduce_sum(task.model.first(tf.boolean_mask(batch["x"], batch["x"][:, 0] > 0)))
    }
    problems = lint_task(task, {"x": tf.TensorSpec([4, 24])})
    assert any("Where has a shape that depends on data" in problem for problem in problems)
    assert any("unknown dimension" in problem for problem in problems)


@pytest.mark.parametrize(
    "function, problem",
    [
        (lambda x: tf.unique(x[:, 0])[0], "Unique has a shape that depends on data"),
        (lambda x: tf.where(x > 0), "Where has a shape"),
        (lambda x: x[: tf.cast(x[0, 0], tf.int32)], "unknown dimension"),
        (lambda x: tf.cast(x, tf.float64), "gives float64"),
        (lambda x: tf.strings.as_string(x), "gives string"),
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), "calls Python"),
        (lambda x: (tf.print(x), x)[1], "PrintV2 does not run"),
        (lambda x: tf.debugging.check_numerics(x, ""), "CheckNumerics\\w* is dropped"),
        (lambda x: (tf.debugging.assert_positive(x), x)[1], "Assert is dropped"),
        (lambda x: x + tf.random.uniform([4, 6]), "RandomUniform keeps random state"),
        (lambda x: keras.random.uniform([4, 6]) + x, "seed_generator.* keeps random state"),
        (lambda x: tf.random.shuffle(x), "RandomShuffle keeps random state"),
        (lambda x: tf.signal.fft2d(tf.cast(x, tf.complex64)), "FFT2D has no TPU form"),
        (lambda x: tf.map_fn(lambda row: tf.unique(row)[0][0], x), "/.*Unique has a shape"),
        (
            lambda x: tf.cond(x[0, 0] > 0, lambda: tf.random.normal([4, 6]), lambda: x),
            "/.*RandomStandardNormal keeps",
        ),
        (tf.function(lambda x: tf.cast(x, tf.float64)), "/.*gives float64"),
    ],
)
def test_problems(function, problem):
    assert re.search(problem, "\n".join(lint(function)))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.where(x > 0, x, -x),
        lambda x: tf.signal.rfft(x, [8]),
        lambda x: tf.signal.stft(x, 4, 2),
        lambda x: tf.scan(lambda a, row: a + row, x),
        lambda x: tf.random.stateless_uniform([4, 6], tf.cast(x[0, :2], tf.int32)),
        lambda x: tf.gather(x, tf.argsort(x[:, 0])),
        lambda x: tf.image.resize(x[..., tf.newaxis, tf.newaxis], [3, 3]),
    ],
)
def test_what_may_be_there(function):
    assert lint(function) == []


def test_allowed_lines_are_left_out():
    def function(x):
        return tf.cast(tf.random.shuffle(x), tf.float64)

    graph = tf.function(function).get_concrete_function(tf.TensorSpec([4, 6])).graph
    lines = lint_graph(graph, allowed=["gives float64$"])
    assert len(lines) == 1
    assert "RandomShuffle" in lines[0]


def test_number_of_problems_is_limited():
    def many(x):
        for _ in range(30):
            x = tf.random.shuffle(x)
        return x

    assert len(lint(many)) == 20
