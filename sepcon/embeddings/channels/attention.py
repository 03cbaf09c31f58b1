"""Attention over the channels of a clip, learned with labels on frozen embeddings.

Ilse et al., "Attention-based deep multiple instance learning" (2018), equation 8: the weight of a
channel is the softmax, over the audible channels of a clip, of a small network of its embedding.
Weights and a linear classifier are learned together; afterwards the weighted mean of the channels
is an embedding like any other, and the classifier is not used any more. So what attention is worth
is measured by the same classifiers as all other poolings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from sepcon.embeddings.sources import ChangedSource, EmbeddingSource, held
from sepcon.embeddings.store import Embeddings
from sepcon.errors import SepconError
from sepcon.metrics.classification import average_precision


@dataclasses.dataclass(frozen=True)
class AttentionSettings:
    """How attention is learned.

    Attributes:
      units: of the hidden layer of the small network.
      learning_rate: of Adam.
      l2: penalty of all kernels.
      batch_size: clips in a step.
      max_epochs: upper bound.
      patience: epochs without a rise of validation mAP before it stops.
    """

    units: int = 32
    learning_rate: float = 2e-3
    l2: float = 1e-3
    batch_size: int = 128
    max_epochs: int = 60
    patience: int = 6


@dataclasses.dataclass(frozen=True)
class ChannelSets:
    """The embeddings of clips and of their channels.

    Attributes:
      mixture: [clips, dim] float32.
      channels: [clips, channel, dim] float32, each the mean over the patches in which the channel
        is audible; zeros where there is none.
      audible: [clips, channel] float32, the share of patches in which a channel is audible.
    """

    mixture: np.ndarray
    channels: np.ndarray
    audible: np.ndarray

    @classmethod
    def of_rows(cls, rows: np.ndarray, *, dim: int) -> ChannelSets:
        """Takes apart what `channel_pooling.pooled` gives for attention, or means of it.

        Args:
          rows: [clips, dim + channel * (dim + 1)] float32.
          dim: of the encoder.
        """
        num_channels = (rows.shape[1] - dim) // (dim + 1)
        sums = rows[:, dim : dim + num_channels * dim].reshape(-1, num_channels, dim)
        audible = rows[:, dim + num_channels * dim :]
        shares = np.where(audible > 0, audible, 1.0).astype(np.float32)
        return cls(rows[:, :dim], sums / shares[..., np.newaxis], audible)


@dataclasses.dataclass(frozen=True)
class Attention:
    """A learned attention over channels.

    Attributes:
      mean: [dim] of the channels of the training clips.
      deviation: [dim] of the same, 1 where it is zero.
      hidden: kernel [dim, units] and bias [units] of the layer before the hyperbolic tangent.
      score: [units], of the weights.
      history: mAP of the validation clips after each epoch.
    """

    mean: np.ndarray
    deviation: np.ndarray
    hidden: tuple[np.ndarray, np.ndarray]
    score: np.ndarray
    history: tuple[float, ...]

    def weights(self, sets: ChannelSets) -> np.ndarray:
        """Returns [clips, channel] float32, 0 for what is not heard; together 1, of silence 0."""
        scaled = (sets.channels - self.mean) / self.deviation
        logits = np.tanh(scaled @ self.hidden[0] + self.hidden[1]) @ self.score
        logits = np.where(sets.audible > 0, logits, -np.inf)
        highest = logits.max(axis=1, keepdims=True)
        shares = np.exp(logits - np.where(np.isfinite(highest), highest, 0.0))
        return (shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-20)).astype(np.float32)

    def embed(self, sets: ChannelSets) -> np.ndarray:
        """Puts the weighted mean of the channels behind the mixture: [clips, 2 * dim] float32.

        Of silence the mixture stands in its place.
        """
        weights = self.weights(sets)
        mean = np.einsum("nm,nmd->nd", weights, sets.channels)
        silent = ~(sets.audible > 0).any(axis=1, keepdims=True)
        return np.concatenate([sets.mixture, np.where(silent, sets.mixture, mean)], axis=1)


def learn_attention(
    train: ChannelSets,
    train_labels: np.ndarray,
    validation: ChannelSets,
    validation_labels: np.ndarray,
    *,
    settings: AttentionSettings | None = None,
    seed: int = 0,
) -> Attention:
    """Learns attention together with a linear classifier of mixture and attended channels.

    The loss is binary cross-entropy, summed over classes. After each epoch mAP on the validation
    clips is measured; the weights of the best one are kept.

    Args:
      train: at least one clip.
      train_labels: [clips, classes] 0 or 1.
      validation: what decides when to stop.
      validation_labels: [clips, classes], a positive in at least one class.
      settings: how.
      seed: of the first weights and the order of the clips.

    Raises:
      SepconError: it diverged.
    """
    settings = settings or AttentionSettings()
    heard = train.channels[train.audible > 0]
    heard = heard if len(heard) else train.mixture
    mean, deviation = heard.mean(axis=0), heard.std(axis=0)
    deviation = np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)
    of_train, of_validation = (_scaled(sets, mean, deviation) for sets in (train, validation))
    random = np.random.default_rng([seed, 2])
    weights = [
        tf.constant(each) for each in _first_weights(train, train_labels, settings.units, random)
    ]
    state = (weights, [tf.zeros_like(w) for w in weights], [tf.zeros_like(w) for w in weights])
    numbers = tf.constant([settings.learning_rate, settings.l2], tf.float32)
    best, history, steps = weights, list[float](), 0
    present = validation_labels.any(axis=0)
    batch = min(settings.batch_size, len(train.mixture))
    per_epoch = len(train.mixture) // batch
    for epoch in range(settings.max_epochs):
        order = random.permutation(len(train.mixture))[: per_epoch * batch]
        state = _train_epoch(
            state,
            of_train,
            tf.constant(train_labels, tf.float32),
            tf.constant(order.reshape(per_epoch, batch), tf.int32),
            tf.constant(steps),
            numbers,
        )
        steps += per_epoch
        scores = _logits(state[0], *of_validation).numpy()
        if not np.isfinite(scores).all():
            raise SepconError("attention over channels diverged: lower its learning rate")
        precisions = average_precision(
            targets=validation_labels[:, present], scores=scores[:, present]
        )
        history.append(float(precisions.mean()))
        if history[-1] > max(history[:-1], default=-1.0):
            best = state[0]
        elif epoch - int(np.argmax(history)) >= settings.patience:
            break
    kernel, bias, score = (each.numpy() for each in best[:3])
    return Attention(mean, deviation, (kernel, bias), score[:, 0], tuple(history))


_Arrays = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
_Weights = list[tf.Tensor]


def _scaled(sets: ChannelSets, mean: np.ndarray, deviation: np.ndarray) -> _Arrays:
    """Mixture, channels and whether they are audible, the former on the scale of the channels."""
    audible = sets.audible > 0
    channels = np.where(audible[..., np.newaxis], (sets.channels - mean) / deviation, 0.0)
    return (
        tf.constant((sets.mixture - mean) / deviation, tf.float32),
        tf.constant(channels, tf.float32),
        tf.constant(audible),
    )


def _first_weights(
    train: ChannelSets, labels: np.ndarray, units: int, random: np.random.Generator
) -> list[np.ndarray]:
    """Attention begins nearly as the mean, and the outputs at the log odds of the labels."""
    dim = train.mixture.shape[1]
    share = (labels.sum(axis=0) + 0.5) / (len(labels) + 1.0)
    values = [
        random.normal(scale=dim**-0.5, size=(dim, units)),
        np.zeros(units),
        random.normal(scale=0.1 * units**-0.5, size=(units, 1)),
        random.normal(scale=0.1 * dim**-0.5, size=(2 * dim, labels.shape[1])),
        np.log(share / (1.0 - share)),
    ]
    return [value.astype(np.float32) for value in values]


def _logits(
    weights: Sequence[tf.Tensor], mixture: tf.Tensor, channels: tf.Tensor, audible: tf.Tensor
) -> tf.Tensor:
    hidden, bias, score, kernel, out = weights
    logits = tf.tensordot(tf.tanh(tf.tensordot(channels, hidden, 1) + bias), score, 1)[..., 0]
    shares = tf.nn.softmax(tf.where(audible, logits, -1e9), axis=1)[..., tf.newaxis]
    attended = tf.reduce_sum(shares * channels, axis=1)
    silent = ~tf.reduce_any(audible, axis=1, keepdims=True)
    attended = tf.where(silent, mixture, attended)
    return tf.concat([mixture, attended], axis=1) @ kernel + out


@tf.function(reduce_retracing=True)
def _train_epoch(
    state: tuple[_Weights, _Weights, _Weights],
    arrays: _Arrays,
    labels: tf.Tensor,
    order: tf.Tensor,
    steps: tf.Tensor,
    numbers: tf.Tensor,
) -> tuple[_Weights, _Weights, _Weights]:
    """Steps of Adam as a pure function: weights, first and second moments in and out."""
    weights, first, second = state
    for index in tf.range(tf.shape(order)[0]):
        rows = order[index]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits = _logits(weights, *(tf.gather(each, rows) for each in arrays))
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(tf.gather(labels, rows), logits)
            loss = tf.reduce_mean(tf.reduce_sum(entropy, axis=1))
            kernels = (weights[0], weights[2], weights[3])
            loss += numbers[1] * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])
        gradients = tape.gradient(loss, weights)
        count = tf.cast(steps + index + 1, tf.float32)
        rate = numbers[0] * tf.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        weights = [
            w - rate * m / (tf.sqrt(v) + 1e-7)
            for w, m, v in zip(weights, first, second, strict=True)
        ]
    return weights, first, second


def with_attention(
    embedded: dict[str, EmbeddingSource],
    *,
    dim: int,
    seed: int,
    settings: AttentionSettings | None = None,
) -> dict[str, EmbeddingSource]:
    """Learns attention of the 'train' clips, and pools the channels of all by it.

    Args:
      embedded: role -> embeddings as `channel_pooling.pooled` gives them for attention; 'train' and
        'validation' must fit into memory.
      dim: of the encoder.
      seed: of the first weights.
      settings: how it is learned.

    Returns:
      The same with embeddings of 2 * dim numbers.

    Raises:
      SepconError: they do not fit into memory.
    """
    clips = {}
    for role in ("train", "validation"):
        source = held(embedded[role])
        if not isinstance(source, Embeddings):
            raise SepconError(
                f"pooling: attention is learned in memory, and the {role} clips take more than it "
                "may; give fewer clips, or maximum, mean or both"
            )
        clips[role] = source
    sets = {role: ChannelSets.of_rows(each.embedding, dim=dim) for role, each in clips.items()}
    attention = learn_attention(
        sets["train"],
        clips["train"].row_labels,
        sets["validation"],
        clips["validation"].row_labels,
        settings=settings,
        seed=seed,
    )

    def pooled(rows: np.ndarray) -> np.ndarray:
        return attention.embed(ChannelSets.of_rows(rows, dim=dim))

    # Those that are held are not read again.
    return {
        role: ChangedSource(clips.get(role, source), pooled, 2 * dim)
        for role, source in embedded.items()
    }
