"""Heads on top of an encoder that are needed in pretraining only."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


def projection_head(
    *,
    embedding_size: int,
    hidden_sizes: Sequence[int] = (512, 256),
    projection_size: int = 128,
) -> keras.Model:
    """The projection on which views are compared (Chen et al., 2020, SimCLR section 2.1).

    Batch normalisation after each hidden layer is synchronised, so that the replicas of a run
    normalise alike; the output is linear and has no norm of its own.

    Args:
      embedding_size: size of the embedding that comes in.
      hidden_sizes: sizes of the hidden layers.
      projection_size: size of the projection.

    Returns:
      a functional model, [batch, embedding_size] -> [batch, projection_size].
    """
    embedding = keras.Input((embedding_size,), name="embedding")
    hidden = embedding
    for size in hidden_sizes:
        hidden = keras.layers.Dense(size, use_bias=False)(hidden)
        hidden = keras.layers.BatchNormalization(synchronized=True)(hidden)
        hidden = keras.layers.ReLU()(hidden)
    projection = keras.layers.Dense(projection_size, name="projection")(hidden)
    return keras.Model(embedding, projection, name="projection_head")


class CoincidenceHead(keras.layers.Layer):
    """Tells for every anchor and positive whether they come from the same clip.

    Jansen et al., 2020: a small network on the concatenated pair, here with the first layer
    written as a sum, W [x; y] = W1 x + W2 y, so that it runs once per example and not once per
    pair. Only the pairs' hidden layer, [anchors, positives, hidden_sizes[0]], is quadratic.

    Args:
      hidden_sizes: sizes of the hidden layers, at least one.
    """

    def __init__(self, *, hidden_sizes: Sequence[int] = (256, 64), **kwargs: object) -> None:
        super().__init__(**kwargs)
        if not hidden_sizes:
            raise ValueError("hidden_sizes must name at least one layer, got none")
        dense = keras.layers.Dense
        self.anchor_layer = dense(hidden_sizes[0], name="anchor")
        self.positive_layer = dense(hidden_sizes[0], use_bias=False, name="positive")
        # One attribute each: checkpoints of a Keras layer pass over layers in a list.
        self._num_pair_layers = len(hidden_sizes) - 1
        for number, size in enumerate(hidden_sizes[1:]):
            setattr(self, f"pair_layer_{number}", dense(size, activation="relu"))
        self.logit_layer = dense(1, name="logit")

    @property
    def pair_layers(self) -> list[keras.layers.Layer]:
        """The hidden layers of a pair, behind the sum."""
        return [getattr(self, f"pair_layer_{number}") for number in range(self._num_pair_layers)]

    def build(
        self, anchor_shape: Sequence[int | None], positive_shape: Sequence[int | None]
    ) -> None:
        """Makes the weights for embeddings [.., embedding_size]."""
        self.anchor_layer.build((None, anchor_shape[-1]))
        self.positive_layer.build((None, positive_shape[-1]))
        width = self.anchor_layer.units
        for layer in self.pair_layers:
            layer.build((None, None, width))
            width = layer.units
        self.logit_layer.build((None, None, width))
        self.built = True

    def call(self, anchor: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
        """Compares each anchor with each positive.

        Args:
          anchor: [anchors, embedding_size] float32.
          positive: [positives, embedding_size] float32.

        Returns:
          [anchors, positives] float32 logits of "the same clip".
        """
        of_anchor = self.anchor_layer(anchor)[:, tf.newaxis, :]
        of_positive = self.positive_layer(positive)[tf.newaxis, :, :]
        pair = tf.nn.relu(of_anchor + of_positive)  # [anchors, positives, hidden]
        for layer in self.pair_layers:
            pair = layer(pair)
        return tf.squeeze(self.logit_layer(pair), axis=-1)  # [anchors, positives]
