"""The shallow classifier of the benchmark: one hidden layer, or none, on frozen embeddings."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.embeddings.sources import (
    EmbeddingSource,
    RowStatistics,
    held,
    normalised,
    row_statistics,
    shards_ahead,
)
from sepcon.embeddings.store import Embeddings
from sepcon.embeddings.training_blocks import SAMPLINGS, Block, Sampling, TrainingBlocks
from sepcon.errors import SepconError
from sepcon.metrics.classification import average_precision


@dataclass(frozen=True)
class ShallowSettings:
    """How a classifier is trained.

    Attributes:
      hidden_units: size of the hidden layer; None for a linear probe.
      dropout: share of hidden units dropped in training.
      learning_rate: of Adam.
      l2: weight penalties to try; the best on validation is kept.
      batch_size: rows per step: clips, or patches where the embeddings are of patches.
      max_epochs: upper bound.
      patience: epochs without a rise of validation mAP before it stops.
      sampling: "plain", every row once in an epoch, or "class_balanced", see `TrainingBlocks`.
    """

    hidden_units: int | None = 512
    dropout: float = 0.5
    learning_rate: float = 1e-3
    l2: Sequence[float] = (1e-3,)
    batch_size: int = 128
    max_epochs: int = 200
    patience: int = 10
    sampling: Sampling = "plain"

    def __post_init__(self) -> None:
        if not self.l2:
            raise ValueError("l2 must hold at least one value, got none")
        if min(self.batch_size, self.max_epochs, self.patience) < 1:
            raise ValueError(
                f"batch_size={self.batch_size}, max_epochs={self.max_epochs} and "
                f"patience={self.patience} must be at least 1"
            )
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling={self.sampling!r} must be one of {', '.join(SAMPLINGS)}")


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
        inputs = embedding.astype(np.float32, copy=False) - self.mean
        inputs /= self.deviation
        return _sigmoid(_logits_numpy(self.weights, inputs))

    def predict_clips(self, source: EmbeddingSource) -> np.ndarray:
        """Returns class probabilities of clips that need not fit into memory.

        The score of a clip with several rows is the mean over the probabilities of its patches, as
        is the convention on AudioSet.

        Returns:
          [clips, classes] float32 in [0, 1].
        """
        return np.concatenate(
            [
                clips.mean_over_patches(self.predict(clips.embedding))
                for clips in shards_ahead(source)
            ]
        )


def train_shallow_classifier(
    *,
    train: EmbeddingSource,
    validation: EmbeddingSource,
    settings: ShallowSettings | None = None,
    seed: int = 0,
) -> ShallowClassifier:
    """Trains a multi-label classifier by Adam on binary cross-entropy.

    The loss is summed over classes and averaged over clips, plus l2 / 2 times the sum of squared
    kernels (so that l2 is 1 / (C * clips) of scikit-learn's logistic regression). After each epoch
    macro mAP on `validation` is measured; training stops when it has not risen for `patience`
    epochs and keeps the weights of the best one. The test set has no part in it. Where clips have
    a row for each patch, every patch is an example with the labels of its clip. What does not fit
    into memory is streamed (see `TrainingBlocks`); of it, only what is scored at once is held.

    Args:
      train: what it learns from.
      validation: what decides when to stop, and between several `l2`.
      settings: how; one hidden layer of 512 by default.
      seed: decides the initial weights, the order of the clips and the dropout.

    Raises:
      SepconError: no labels, or different classes, or no class has a positive validation clip.
    """
    settings = settings or ShallowSettings()
    train, validation = held(train), held(validation)
    _check_labels(train, validation)
    found = row_statistics(train)
    scale = {"mean": found.mean, "deviation": found.deviation}
    held_out = normalised(validation, **scale)
    blocks = TrainingBlocks(
        normalised(train, **scale),
        label_rows=found.label_rows,
        batch_size=settings.batch_size,
        sampling=settings.sampling,
    )
    best: ShallowClassifier | None = None
    for penalty in settings.l2:
        weights, history = _train(
            blocks.epoch,
            initial=_initial_weights(found, settings.hidden_units, seed),
            judge=lambda weights: _mean_average_precision(weights, held_out),
            settings=settings,
            l2=penalty,
            seed=seed,
        )
        epoch = int(np.argmax(history))
        if best is None or history[epoch] > max(best.validation_mean_average_precision):
            best = ShallowClassifier(
                found.mean, found.deviation, weights, tuple(history), epoch, penalty
            )
    assert best is not None
    return best


def _train(
    epoch_blocks: Callable[[np.random.Generator], Iterator[Block]],
    *,
    initial: Sequence[np.ndarray],
    judge: Callable[[Sequence[np.ndarray]], float],
    settings: ShallowSettings,
    l2: float,
    seed: int,
) -> tuple[tuple[np.ndarray, ...], list[float]]:
    """Returns the weights that `judge` liked best, the first of equals, and all its verdicts."""
    random = np.random.default_rng([seed, 1])
    weights = [tf.constant(value) for value in initial]
    state = (weights, [tf.zeros_like(w) for w in weights], [tf.zeros_like(w) for w in weights])
    numbers = tf.constant([settings.learning_rate, settings.dropout, l2], tf.float32)
    best, history, steps = tuple(initial), list[float](), 0
    for epoch in range(settings.max_epochs):
        for block in epoch_blocks(random):
            state = _train_block(
                state,
                tf.constant(block.inputs),
                tf.constant(block.targets),
                tf.constant(block.batches),
                tf.constant([seed, steps], tf.int32),
                numbers,
            )
            steps += len(block.batches)
        current = tuple(weight.numpy() for weight in state[0])
        history.append(judge(current))
        if history[-1] > max(history[:-1], default=-1.0):
            best = current
        elif epoch - int(np.argmax(history)) >= settings.patience:
            break
    return best, history


def _train_block(
    state: tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]],
    inputs: tf.Tensor,
    targets: tf.Tensor,
    order: tf.Tensor,
    seed_and_step: tf.Tensor,
    numbers: tf.Tensor,
) -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
    """Steps of Adam as a pure function, so that all trainings of a shape share one graph.

    Args:
      state: weights, first moments, second moments.
      inputs: [rows, dim] float32.
      targets: [rows, classes] uint8.
      order: [steps, batch] int32, the rows of each step.
      seed_and_step: [2] int32, seed and number of steps done before.
      numbers: [3] float32, learning rate, dropout, l2.
    """
    shapes = tuple(tuple(weight.shape) for weight in state[0])
    return _block_graph(int(order.shape[1]), shapes)(
        state, inputs, targets, order, seed_and_step, numbers
    )


@functools.lru_cache(maxsize=64)
def _block_graph(batch: int, shapes: tuple[tuple[int, ...], ...]) -> Callable[..., Any]:
    """The graph for blocks of any length; what is left open in it makes an accelerator wait."""
    weights = [tf.TensorSpec(shape) for shape in shapes]
    return tf.function(
        _steps,
        input_signature=[
            (weights, weights, weights),
            tf.TensorSpec([None, shapes[0][0]]),
            tf.TensorSpec([None, shapes[-1][0]], tf.uint8),
            tf.TensorSpec([None, batch], tf.int32),
            tf.TensorSpec([2], tf.int32),
            tf.TensorSpec([3]),
        ],
    )


def _steps(
    state: tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]],
    inputs: tf.Tensor,
    targets: tf.Tensor,
    order: tf.Tensor,
    seed_and_step: tf.Tensor,
    numbers: tf.Tensor,
) -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
    """What the graph of `_train_block` does."""
    weights, first, second = state
    targets = tf.cast(targets, tf.bool)  # accelerators do not gather uint8
    learning_rate, dropout, l2 = numbers[0], numbers[1], numbers[2]
    index = tf.constant(0)
    while index < tf.shape(order)[0]:  # a range would count its numbers on the device, and wait
        rows = order[index]
        step = seed_and_step[1] + index
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits = _logits(
                weights, tf.gather(inputs, rows), dropout, tf.stack([seed_and_step[0], step])
            )
            labels = tf.cast(tf.gather(targets, rows), tf.float32)
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
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
        index += 1
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
        inputs = inputs @ kernel
        inputs += bias
        np.maximum(inputs, 0.0, out=inputs)
    logits = inputs @ weights[-2]
    logits += weights[-1]
    return logits


def _initial_weights(found: RowStatistics, hidden_units: int | None, seed: int) -> list[np.ndarray]:
    """He-normal kernels; the output biases start at the log odds of the training labels."""
    random = np.random.default_rng([seed, 0])
    classes = len(found.label_rows)
    sizes = [len(found.mean), *([hidden_units] if hidden_units else []), classes]
    weights: list[np.ndarray] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        kernel = random.normal(scale=np.sqrt(2.0 / fan_in), size=(fan_in, fan_out))
        weights += [kernel.astype(np.float32), np.zeros(fan_out, np.float32)]
    weights[-2] *= 0.1  # Nearly no opinion at first, or the first epochs unlearn noise.
    share = (found.label_rows + 0.5) / (found.rows + 1.0)
    weights[-1] = np.log(share / (1.0 - share)).astype(np.float32)
    return weights


def _mean_average_precision(weights: Sequence[np.ndarray], held_out: EmbeddingSource) -> float:
    scores, labels = [], []
    for clips in shards_ahead(held_out):
        scores.append(_clip_scores(weights, clips))
        labels.append(clips.labels)
    return _macro_average_precision(np.concatenate(scores), np.concatenate(labels))


def _clip_scores(weights: Sequence[np.ndarray], clips: Embeddings) -> np.ndarray:
    """Scores [clips, classes] that rank clips as their probabilities do."""
    logits = _logits_numpy(weights, clips.embedding)
    return logits if clips.patches is None else clips.mean_over_patches(_sigmoid(logits))


def _macro_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    if not np.isfinite(scores).all():
        raise SepconError(
            "the shallow classifier diverged (scores are not finite): lower its learning rate."
        )
    present = labels.any(axis=0)
    if not present.any():
        raise SepconError("no validation clip has a label: nothing could decide when to stop.")
    return float(average_precision(targets=labels[:, present], scores=scores[:, present]).mean())


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    """Turns float32 logits into probabilities, in place, without overflow."""
    logits *= 0.5
    np.tanh(logits, out=logits)
    logits += 1.0
    logits *= 0.5
    return logits


def _check_labels(train: EmbeddingSource, validation: EmbeddingSource) -> None:
    if not train.class_names:
        raise SepconError("the training clips have no labels: a classifier needs some.")
    if train.class_names != validation.class_names:
        raise SepconError("training and validation clips differ in their class names.")
    if train.dim != validation.dim:
        raise SepconError(
            f"training embeddings have {train.dim} dimensions, "
            f"validation embeddings {validation.dim}: they are of different models."
        )
