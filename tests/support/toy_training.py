"""A small contrastive task and its data, for tests of the training loop."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sepcon.replicas import gather_global, num_replicas
from sepcon.training.step import StepFunction
from sepcon.training.task import Summaries

SAMPLES = 24
HIDDEN = 16


class ToyModel(keras.Model):
    def __init__(self, hidden: int = HIDDEN, synchronized: bool = True) -> None:
        super().__init__()
        self.first = keras.layers.Dense(hidden, name="first")
        self.norm = keras.layers.BatchNormalization(synchronized=synchronized, name="norm")
        self.last = keras.layers.Dense(8, name="last")
        self.first.build((None, SAMPLES))
        self.norm.build((None, hidden))
        self.last.build((None, hidden))
        self.built = True


class ToyTask:
    """Tells two noisy views of a row from those of all other rows of the global batch."""

    def __init__(self, hidden: int = HIDDEN, synchronized: bool = True) -> None:
        self.model = self.product = ToyModel(hidden, synchronized)
        self.num_uniforms = 2 * hidden

    def loss(self, batch, *, training):
        x = tf.cast(batch["audio"], tf.float32) / 32768.0
        masks = tf.split(tf.cast(batch["uniforms"] > 0.2, tf.float32), 2, axis=1)
        views = [self.embed(x, mask, training) for mask in masks]
        everyone, offset = gather_global(views[1])  # [global rows, dim]
        rows = tf.shape(x)[0]
        logits = tf.matmul(views[0], everyone, transpose_b=True) / 0.2
        labels = tf.range(tf.cast(rows, tf.int64)) + tf.cast(offset, tf.int64)
        per_row = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        hits = tf.cast(tf.argmax(logits, 1) == labels, tf.float32)
        share = 1.0 / (tf.cast(rows, tf.float32) * num_replicas())
        # NaN uniforms (the tests' bad batches) pass a comparison: bring them back.
        bad = 0.0 * tf.reduce_sum(batch["uniforms"])
        return {
            "loss": tf.reduce_sum(per_row) * share + bad,
            "accuracy": tf.reduce_sum(hits) * share,
        }

    def embed(self, x, mask, training):
        hidden = self.model.first(x) * mask
        hidden = tf.nn.relu(self.model.norm(hidden, training=training))
        return tf.math.l2_normalize(self.model.last(hidden), axis=1)

    def summaries(self, batch):
        x = tf.cast(batch["audio"][:3], tf.float32) / 32768.0
        picture = tf.reshape(tf.nn.sigmoid(x), [3, 4, SAMPLES // 4, 1])
        return Summaries(audio={"sound": (x, 16000)}, images={"picture": picture})


class LocalTask(ToyTask):
    """Asks nothing of other replicas."""

    def loss(self, batch, *, training):
        x = tf.cast(batch["audio"], tf.float32) / 32768.0
        output = self.model.last(tf.nn.relu(self.model.first(x)))
        return {"loss": tf.reduce_mean((output - 1.0) ** 2) / num_replicas()}


@dataclass(frozen=True)
class ToyStream:
    """Batches that are a pure function of (seed, step)."""

    batch_size: int = 8
    num_uniforms: int = 2 * HIDDEN
    seed: int = 0
    bad_step: int = -1
    seconds_per_batch: float = 0.0
    identity: str = "toy examples"

    def batches(self, start_step, rows=None):
        rows = range(self.batch_size) if rows is None else rows
        steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
        return steps.map(
            lambda step: {
                name: part[rows.start : rows.stop] for name, part in self._batch(step).items()
            }
        )

    def describe(self, step):
        return f"batch {step} of seed {self.seed}"

    def _batch(self, step):
        seed = tf.stack([tf.constant(self.seed, tf.int64), step])
        draw = tf.random.stateless_uniform(
            [self.batch_size, SAMPLES], seed, -20000, 20000, tf.int32
        )
        uniforms = tf.random.stateless_uniform([self.batch_size, self.num_uniforms], seed + 1)
        uniforms += tf.where(step == self.bad_step, np.nan, 0.0)
        if self.seconds_per_batch:
            with tf.control_dependencies([tf.numpy_function(self._wait, [], [])]):
                uniforms = tf.identity(uniforms)
        position = tf.cast(step, tf.int32) * self.batch_size + tf.range(self.batch_size)
        return {"audio": tf.cast(draw, tf.int16), "uniforms": uniforms, "position": position}

    def _wait(self):
        time.sleep(self.seconds_per_batch)


def toy_setup(strategy=None, *, kind=ToyTask, hidden=HIDDEN, make_optimizer=None):
    """A task and an optimizer whose initial weights are always the same."""
    # Without an epsilon of this size Adam blows rounding errors up to full steps where a gradient
    # is nothing but rounding errors, as that of a bias before batch normalisation.
    make_optimizer = make_optimizer or (lambda: keras.optimizers.Adam(0.01, epsilon=1e-3))
    keras.utils.set_random_seed(3)
    with (strategy or tf.distribute.get_strategy()).scope():
        task = kind(hidden)
        optimizer = make_optimizer()
    return task, optimizer


class SharedToys:
    """Toy tasks whose graphs are made once for all tests of a file: that takes most of their time.

    Within a test each call of `setup` gives another task, with the weights that `toy_setup` gives.
    Put `steps` in the place of the loop's `StepFunction`, and call `begin_test` before each test.
    A test that changes a task takes one of `toy_setup`.
    """

    def __init__(self) -> None:
        self._made: dict[int, list[tuple[ToyTask, Any, list[np.ndarray]]]] = defaultdict(list)
        self._given: Counter[int] = Counter()
        self.steps = type("SharedSteps", (_SharedSteps,), {"shared": {}, "toys": self})

    def begin_test(self) -> None:
        self._given.clear()

    def setup(self, hidden: int = HIDDEN) -> tuple[ToyTask, Any]:
        made, number = self._made[hidden], self._given[hidden]
        self._given[hidden] += 1
        if number == len(made):
            task, optimizer = toy_setup(hidden=hidden)
            optimizer.build(task.model.trainable_variables)
            made.append((task, optimizer, [np.array(each) for each in _state(task, optimizer)]))
        task, optimizer, initial = made[number]
        for variable, value in zip(_state(task, optimizer), initial, strict=True):
            variable.assign(value)
        return task, optimizer

    def holds(self, task: Any, optimizer: Any) -> bool:
        """Whether both are of this object, and of one call of `setup`."""
        made = [each for several in self._made.values() for each in several]
        return any(task is one and optimizer is other for one, other, _ in made)


class _SharedSteps(StepFunction):
    """A step function for each shared task and way of training; others as they always are."""

    shared: dict[Any, StepFunction]
    toys: SharedToys

    def __new__(cls, *, task, optimizer, strategy, **settings):
        if not cls.toys.holds(task, optimizer):
            return super().__new__(cls)
        key = (id(task), id(strategy), *sorted(settings.items()))
        return cls.shared.setdefault(key, super().__new__(cls))

    def __init__(self, **arguments):
        if "called" not in self.__dict__:
            super().__init__(**arguments)
        self.called = False


def _state(task, optimizer) -> list[Any]:
    return [*task.model.variables, *optimizer.variables]


def values_of(model) -> list[np.ndarray]:
    return [np.array(variable.numpy()) for variable in model.variables]
