"""Heads on top of an encoder that are needed in pretraining only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from sepcon.models.batch_norm import BatchNormalization

# Numbers in a tensor of all pairs, half a gigabyte; beyond, the pairs are worked out in blocks.
_LARGEST_AT_ONCE = 1 << 27
_ANCHORS_OF_A_BLOCK = 128


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
        hidden = BatchNormalization(synchronized=True)(hidden)
        hidden = keras.layers.ReLU()(hidden)
    projection = keras.layers.Dense(projection_size, name="projection")(hidden)
    return keras.Model(embedding, projection, name="projection_head")


def logits_in_blocks(
    of_anchor: tf.Tensor, of_positive: tf.Tensor, weights: Sequence[tf.Tensor]
) -> tf.Tensor:
    """The last layers of `CoincidenceHead`, for some anchors at a time.

    Nothing that is quadratic and has a hidden axis is kept for the gradient: that works it out
    again. Of 4096 pairs each such tensor would take 17 GB.

    Args:
      of_anchor: [anchors, hidden], the first layer's share of the anchors.
      of_positive: [positives, hidden], its share of the positives.
      weights: kernel and bias of each further layer; the last has one unit.

    Returns:
      [anchors, positives] logits.
    """
    anchors, hidden = of_anchor.shape
    num_blocks = -(-anchors // _ANCHORS_OF_A_BLOCK)

    @tf.custom_gradient
    def operation(*inputs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        blocks, others = inputs[0], inputs[1:]  # [block, anchors of it, hidden]
        logits = tf.map_fn(
            lambda block: _pair_logits(block, *others), blocks, parallel_iterations=1
        )

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            def add(number: tf.Tensor, sums: list[tf.Tensor], rows: tf.TensorArray) -> tuple:
                block = blocks[number]
                with tf.GradientTape() as tape:
                    tape.watch([block, *others])
                    value = _pair_logits(block, *others)
                of_block, *parts = tape.gradient(value, [block, *others], upstream[number])
                sums = [total + part for total, part in zip(sums, parts, strict=True)]
                return number + 1, sums, rows.write(number, of_block)

            start = (0, [tf.zeros_like(each) for each in others])
            rows = tf.TensorArray(blocks.dtype, num_blocks, element_shape=blocks.shape[1:])
            _, sums, rows = tf.while_loop(
                lambda number, *_: number < num_blocks, add, (*start, rows), parallel_iterations=1
            )
            return [rows.stack(), *sums]

        return logits, gradient

    padded = tf.pad(of_anchor, [[0, num_blocks * _ANCHORS_OF_A_BLOCK - anchors], [0, 0]])
    blocks = tf.reshape(padded, [num_blocks, _ANCHORS_OF_A_BLOCK, hidden])
    logits = operation(blocks, of_positive, *weights)  # [block, anchors of it, positives]
    return tf.reshape(logits, [-1, of_positive.shape[0]])[:anchors]


def _pair_logits(of_anchor: tf.Tensor, of_positive: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
    """[anchors, hidden] and [positives, hidden] to [anchors, positives]."""
    pair = tf.nn.relu(of_anchor[:, tf.newaxis, :] + of_positive[tf.newaxis, :, :])
    shape = pair.shape[:2]
    pair = tf.reshape(pair, [-1, pair.shape[2]])  # one large product
    *hidden, (kernel, bias) = zip(weights[::2], weights[1::2], strict=True)
    for each, offset in hidden:
        pair = tf.nn.relu(tf.matmul(pair, each) + offset)
    return tf.reshape(tf.matmul(pair, kernel) + bias, shape)


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
        of_anchor, of_positive = self.anchor_layer(anchor), self.positive_layer(positive)
        size = (of_anchor.shape[0] or 0) * (of_positive.shape[0] or 0) * of_anchor.shape[1]
        if size > _LARGEST_AT_ONCE:
            layers = [*self.pair_layers, self.logit_layer]
            weights = [tf.convert_to_tensor(w) for each in layers for w in (each.kernel, each.bias)]
            return logits_in_blocks(of_anchor, of_positive, weights)
        # [anchors, positives, hidden]
        pair = tf.nn.relu(of_anchor[:, tf.newaxis, :] + of_positive[tf.newaxis, :, :])
        for layer in self.pair_layers:
            pair = layer(pair)
        return tf.squeeze(self.logit_layer(pair), axis=-1)  # [anchors, positives]
