"""Similarity maximization: the NT-Xent loss of SimCLR.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (2020),
Algorithm 1: each of the 2N views of a batch picks its partner out of the 2N - 1 others by the
cosine of their projections.
"""

from typing import NamedTuple

import tensorflow as tf

from sepcon.replicas import gather_global


class NtXent(NamedTuple):
    """The loss and the accuracy of each pair of this replica."""

    loss: tf.Tensor  # [batch], mean of the pair's two directions
    accuracy: tf.Tensor  # [batch], share of the two whose partner is nearer than any other view


def nt_xent(*, anchor: tf.Tensor, positive: tf.Tensor, temperature: float = 0.2) -> NtXent:
    """NT-Xent with the views of all replicas as negatives.

    Args:
        anchor: [batch, dim] float, this replica's projections of the first views, of any length:
            they are normalised here.
        positive: like `anchor`, of the second views; row i belongs to the same clip.
        temperature: divides the cosines, above 0.

    Returns:
        The values of this replica's rows, float32 (float64 for float64 inputs). Summed over rows
        and replicas and divided by the global batch size they are the mean over all 2N views.
        Where all projections agree, the loss is log(2N - 1).

    Raises:
        ValueError: if shapes differ, the temperature is not positive, or the global batch holds a
            single pair, which leaves no negatives.
    """
    anchor, positive = tf.convert_to_tensor(anchor), tf.convert_to_tensor(positive)
    if anchor.shape.rank != 2 or not anchor.shape.is_compatible_with(positive.shape):
        raise ValueError(
            f"anchor and positive must be [batch, dim], got {anchor.shape} and {positive.shape}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    anchor, positive = unit_rows(anchor), unit_rows(positive)
    all_anchors, offset = gather_global(anchor)
    all_positives, _ = gather_global(positive)
    if all_anchors.shape[0] == 1:
        raise ValueError("anchor has one row: NT-Xent needs a global batch of at least 2 pairs")
    num_pairs = tf.shape(all_anchors)[0]
    column = tf.range(tf.shape(anchor)[0]) + offset
    loss, accuracy = _pick_partner(
        view=tf.concat([anchor, positive], axis=0) / temperature,
        candidate=tf.concat([all_anchors, all_positives], axis=0),
        own=tf.concat([column, column + num_pairs], axis=0),
        partner=tf.concat([column + num_pairs, column], axis=0),
    )
    # [2 * batch] -> [batch]
    loss, accuracy = (tf.reduce_mean(tf.reshape(x, [2, -1]), axis=0) for x in (loss, accuracy))
    return NtXent(loss, accuracy)


def unit_rows(x: tf.Tensor) -> tf.Tensor:
    """Scales each row to length one.

    Args:
        x: [rows, dim] float.

    Returns:
        [rows, dim] float32 (float64 for float64 input); rows of zeros stay zero.
    """
    return tf.math.l2_normalize(x if x.dtype == tf.float64 else tf.cast(x, tf.float32), axis=1)


def _pick_partner(
    *, view: tf.Tensor, candidate: tf.Tensor, own: tf.Tensor, partner: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cross-entropy of picking each view's partner among the candidates other than itself.

    Args:
        view: [rows, dim].
        candidate: [columns, dim].
        own: [rows] int32, the column of the view itself.
        partner: [rows] int32, the column to pick.

    Returns:
        loss [rows], and accuracy [rows], 1 or 0.
    """
    logits = tf.matmul(view, candidate, transpose_b=True)  # [rows, columns]
    column = tf.range(tf.shape(candidate)[0])
    lowest = logits.dtype.min
    logits = tf.where(column == own[:, tf.newaxis], lowest, logits)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits)
    of_partner = tf.gather(logits, partner, batch_dims=1)
    of_others = tf.where(column == partner[:, tf.newaxis], lowest, logits)
    # A tie is not a hit, so that embeddings that are all alike do not look perfect.
    accuracy = of_partner > tf.reduce_max(of_others, axis=1)
    return loss, tf.stop_gradient(tf.cast(accuracy, logits.dtype))
