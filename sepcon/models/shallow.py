"""The shallow classifier of the benchmark: one hidden layer, or none, on frozen embeddings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from sepcon.data.embeddings import Embeddings
from sepcon.errors import SepconError
from sepcon.metrics import average_precision


@dataclass(frozen=True)
class ShallowSettings:
    """How a classifier is trained.

    Attributes:
      hidden_units: size of the hidden layer; None for a linear probe.
      dropout: share of hidden units dropped in training.
      learning_rate: of Adam.
      l2: weight penalties to try; the best on validation is kept.
      batch_size: clips per step.
      max_epochs: upper bound.
      patience: epochs without a rise of validation mAP before it stops.
    """

    hidden_units: int | None = 512
    dropout: float = 0.5
    learning_rate: float = 1e-3
    l2: Sequence[float] = (1e-3,)
    batch_size: int = 128
    max_epochs: int = 200
    patience: int = 10

    def __post_init__(self) -> None:
        if not self.l2:
            raise ValueError("l2 must hold at least one value, got none")
        if min(self.batch_size, self.max_epochs, self.patience) < 1:
            raise ValueError(
                f"batch_size={self.batch_size}, max_epochs={self.max_epochs} and "
                f"patience={self.patience} must be at least 1"
            )


LINEAR_PROBE = ShallowSettings(hidden_units=None)


@dataclass(frozen=True)
class ShallowClassifier:
    """A trained classifier: z-score, (hidden ReLU layer,) sigmoid outputs.

    Attributes:
      mean: [dim] of the training embeddings.
      deviation: [dim] of the training embeddings, 1 where it is zero.
      weights: (kernel, bias) of each layer in turn, float32.
      validation_mean_average_precision: after each epoch of the chosen training.
      best_epoch: the epoch (from 0) whose weights these are.
      l2: the weight penalty that validation chose.
    """

    mean: np.ndarray
    deviation: np.ndarray
    weights: tuple[np.ndarray, ...]
    validation_mean_average_precision: tuple[float, ...]
    best_epoch: int
    l2: float

    def predict(self, embedding: np.ndarray) -> np.ndarray:
        """Returns class probabilities.

        Args:
          embedding: [clips, dim] float; of a clip, the mean over its patches.

        Returns:
          [clips, classes] float32 in [0, 1].
        """
        normalised = _normalise(embedding, self.mean, self.deviation)
        logits = _logits_numpy(self.weights, normalised)
        return (0.5 * (1.0 + np.tanh(0.5 * logits))).astype(np.float32)  # sigmoid, no overflow


def train_shallow_classifier(
    *,
    train: Embeddings,
    validation: Embeddings,
    settings: ShallowSettings | None = None,
    seed: int = 0,
) -> ShallowClassifier:
    """Trains a multi-label classifier by Adam on binary cross-entropy.

    The loss is summed over classes and averaged over clips, plus l2 / 2 times the sum of squared
    kernels (so that l2 is 1 / (C * clips) of scikit-learn's logistic regression). After each epoch
    macro mAP on `validation` is measured; training stops when it has not risen for `patience`
    epochs and keeps the weights of the best one. The test set has no part in it.

    Args:
      train: what it learns from.
      validation: what decides when to stop, and between several `l2`.
      settings: how; one hidden layer of 512 by default.
      seed: decides the initial weights, the order of the clips and the dropout.

    Raises:
      SepconError: no labels, or different classes, or no class has a positive validation clip.
    """
    settings = settings or ShallowSettings()
    _check_labels(train, validation)
    mean, deviation = _statistics(train.embedding)
    inputs = _normalise(train.embedding, mean, deviation)
    held_out = _normalise(validation.embedding, mean, deviation)
    best: ShallowClassifier | None = None
    for penalty in settings.l2:
        weights, history = _train(
            tf.constant(inputs),
            tf.constant(train.labels, tf.float32),
            initial=_initial_weights(train, settings.hidden_units, seed),
            judge=lambda weights: _mean_average_precision(weights, held_out, validation.labels),
            settings=settings,
            l2=penalty,
            seed=seed,
        )
        epoch = int(np.argmax(history))
        if best is None or history[epoch] > max(best.validation_mean_average_precision):
            best = ShallowClassifier(mean, deviation, weights, tuple(history), epoch, penalty)
    assert best is not None
    return best


def _train(
    inputs: tf.Tensor,
    targets: tf.Tensor,
    *,
    initial: Sequence[np.ndarray],
    judge: Callable[[Sequence[np.ndarray]], float],
    settings: ShallowSettings,
    l2: float,
    seed: int,
) -> tuple[tuple[np.ndarray, ...], list[float]]:
    """Returns the weights that `judge` liked best, the first of equals, and all its verdicts."""
    clips = inputs.shape[0]
    batch = min(settings.batch_size, clips)
    steps = clips // batch
    random = np.random.default_rng([seed, 1])
    weights = [tf.constant(value) for value in initial]
    state = (weights, [tf.zeros_like(w) for w in weights], [tf.zeros_like(w) for w in weights])
    numbers = tf.constant([settings.learning_rate, settings.dropout, l2], tf.float32)
    best, history = tuple(initial), list[float]()
    for epoch in range(settings.max_epochs):
        # What a shorter last batch would hold is left out, other clips in each epoch.
        order = random.permutation(clips)[: steps * batch].reshape(steps, batch)
        seed_and_step = tf.constant([seed, epoch * steps], tf.int32)
        order = tf.constant(order, tf.int32)
        state = _train_epoch(state, inputs, targets, order, seed_and_step, numbers)
        current = tuple(weight.numpy() for weight in state[0])
        history.append(judge(current))
        if history[-1] > max(history[:-1], default=-1.0):
            best = current
        elif epoch - int(np.argmax(history)) >= settings.patience:
            break
    return best, history


@tf.function
def _train_epoch(
    state: tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]],
    inputs: tf.Tensor,
    targets: tf.Tensor,
    order: tf.Tensor,
    seed_and_step: tf.Tensor,
    numbers: tf.Tensor,
) -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
    """One epoch of Adam as a pure function, so that all trainings of a shape share one graph.

    Args:
      state: weights, first moments, second moments.
      inputs: [clips, dim] float32.
      targets: [clips, classes] float32.
      order: [steps, batch] int32, rows of the clips in each step.
      seed_and_step: [2] int32, seed and number of steps done before.
      numbers: [3] float32, learning rate, dropout, l2.
    """
    weights, first, second = state
    learning_rate, dropout, l2 = numbers[0], numbers[1], numbers[2]
    for index in tf.range(tf.shape(order)[0]):
        rows = order[index]
        step = seed_and_step[1] + index
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits = _logits(
                weights, tf.gather(inputs, rows), dropout, tf.stack([seed_and_step[0], step])
            )
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(tf.gather(targets, rows), logits)
            loss = tf.reduce_mean(tf.reduce_sum(entropy, axis=1))
            loss += l2 * tf.add_n([tf.nn.l2_loss(kernel) for kernel in weights[::2]])
        gradients = tape.gradient(loss, weights)
        count = tf.cast(step + 1, tf.float32)
        rate = learning_rate * tf.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        weights = [
            w - rate * m / (tf.sqrt(v) + 1e-7)
            for w, m, v in zip(weights, first, second, strict=True)
        ]
    return weights, first, second


def _logits(
    weights: Sequence[tf.Tensor], inputs: tf.Tensor, dropout: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        inputs = tf.nn.relu(inputs @ kernel + bias)
        inputs = tf.nn.experimental.stateless_dropout(inputs, rate=dropout, seed=seed)
    return inputs @ weights[-2] + weights[-1]


def _logits_numpy(weights: Sequence[np.ndarray], inputs: np.ndarray) -> np.ndarray:
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        inputs = np.maximum(inputs @ kernel + bias, 0.0)
    return inputs @ weights[-2] + weights[-1]


def _initial_weights(train: Embeddings, hidden_units: int | None, seed: int) -> list[np.ndarray]:
    """He-normal kernels; the output biases start at the log odds of the training labels."""
    random = np.random.default_rng([seed, 0])
    clips, classes = train.labels.shape
    sizes = [train.embedding.shape[1], *([hidden_units] if hidden_units else []), classes]
    weights: list[np.ndarray] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        kernel = random.normal(scale=np.sqrt(2.0 / fan_in), size=(fan_in, fan_out))
        weights += [kernel.astype(np.float32), np.zeros(fan_out, np.float32)]
    weights[-2] *= 0.1  # Nearly no opinion at first, or the first epochs unlearn noise.
    share = (train.labels.sum(axis=0) + 0.5) / (clips + 1.0)
    weights[-1] = np.log(share / (1.0 - share)).astype(np.float32)
    return weights


def _mean_average_precision(
    weights: Sequence[np.ndarray], inputs: np.ndarray, labels: np.ndarray
) -> float:
    scores = _logits_numpy(weights, inputs)
    if not np.isfinite(scores).all():
        raise SepconError(
            "the shallow classifier diverged (scores are not finite): lower its learning rate."
        )
    present = labels.any(axis=0)
    return float(average_precision(targets=labels[:, present], scores=scores[:, present]).mean())


def _statistics(embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = embedding.mean(axis=0, dtype=np.float64)
    deviation = embedding.std(axis=0, dtype=np.float64)
    # A dimension that is constant up to rounding carries no information: leave it at about zero.
    deviation[deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1.0
    return mean.astype(np.float32), deviation.astype(np.float32)


def _normalise(embedding: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return (embedding.astype(np.float32) - mean) / deviation


def _check_labels(train: Embeddings, validation: Embeddings) -> None:
    if not train.class_names:
        raise SepconError("the training clips have no labels: a classifier needs some.")
    if train.class_names != validation.class_names:
        raise SepconError("training and validation clips differ in their class names.")
    if train.embedding.shape[1] != validation.embedding.shape[1]:
        raise SepconError(
            f"training embeddings have {train.embedding.shape[1]} dimensions, "
            f"validation embeddings {validation.embedding.shape[1]}: they are of different models."
        )
    if not validation.labels.any():
        raise SepconError("no validation clip has a label: nothing could decide when to stop.")
