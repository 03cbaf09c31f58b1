"""Similarity maximization: the NT-Xent loss of SimCLR.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (2020),
Algorithm 1: each of the 2N views of a batch picks its partner out of the 2N - 1 others by the
cosine of their projections.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sepcon.replicas import gather_global, xla_island

# From 512 pairs on, on one device, the time that is saved is more than that of compiling.
_MANY_COSINES = 1024 * 1024


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
    both, offset = gather_global(tf.concat([anchor, positive], axis=1))
    all_anchors, all_positives = tf.split(both, 2, axis=1)
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
    if (view.shape[0] or 0) * (candidate.shape[0] or 0) >= _MANY_COSINES:
        loss, accuracy = _at_once(view, candidate, own, partner)
    else:
        loss, accuracy = _step_by_step(view, candidate, own, partner)
    return loss, tf.stop_gradient(tf.cast(accuracy, loss.dtype))


def _step_by_step(
    view: tf.Tensor, candidate: tf.Tensor, own: tf.Tensor, partner: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss and the hit, bool, of each view; see `_pick_partner`."""
    logits = tf.matmul(view, candidate, transpose_b=True)  # [rows, columns]
    column = tf.range(tf.shape(candidate)[0])
    lowest = logits.dtype.min
    logits = tf.where(column == own[:, tf.newaxis], lowest, logits)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits)
    of_partner = tf.gather(logits, partner, batch_dims=1)
    of_others = tf.where(column == partner[:, tf.newaxis], lowest, logits)
    # A tie is not a hit, so that embeddings that are all alike do not look perfect.
    return loss, of_partner > tf.reduce_max(of_others, axis=1)


def _at_once(
    view: tf.Tensor, candidate: tf.Tensor, own: tf.Tensor, partner: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The same numbers in less time and memory, the gradient written by hand.

    For 4096 pairs each pass over the logits is one over 268 MB. XLA makes few of them, and of the
    gradient one and two products; compiling pays for large batches only.
    """

    @tf.custom_gradient
    def operation(view: tf.Tensor, candidate: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable]:
        loss, hit, logits, log_sum = _forward(view, candidate, own, partner)

        def gradient(of_loss: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _backward(of_loss, view, candidate, partner, logits, log_sum)

        return (loss, hit), gradient

    return operation(view, candidate)


@xla_island
def _forward(
    view: tf.Tensor, candidate: tf.Tensor, own: tf.Tensor, partner: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Loss, hit as a number, logits, and the logarithm of the sum over each row."""
    logits = tf.matmul(view, candidate, transpose_b=True)
    column, lowest = tf.range(candidate.shape[0]), logits.dtype.min
    logits = tf.where(column == own[:, tf.newaxis], lowest, logits)
    is_partner = column == partner[:, tf.newaxis]
    of_partner = tf.reduce_sum(tf.where(is_partner, logits, 0.0), axis=1)
    of_others = tf.reduce_max(tf.where(is_partner, lowest, logits), axis=1)
    highest = tf.maximum(of_partner, of_others)
    log_sum = highest + tf.math.log(tf.reduce_sum(tf.exp(logits - highest[:, tf.newaxis]), axis=1))
    hit = tf.cast(of_partner > of_others, logits.dtype)
    return log_sum - of_partner, hit, logits, log_sum


@xla_island
def _backward(
    of_loss: tf.Tensor,
    view: tf.Tensor,
    candidate: tf.Tensor,
    partner: tf.Tensor,
    logits: tf.Tensor,
    log_sum: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients with respect to view and candidate."""
    is_partner = tf.range(candidate.shape[0]) == partner[:, tf.newaxis]
    share = tf.exp(logits - log_sum[:, tf.newaxis]) - tf.cast(is_partner, logits.dtype)
    of_logits = of_loss[:, tf.newaxis] * share
    return tf.matmul(of_logits, candidate), tf.matmul(of_logits, view, transpose_a=True)
