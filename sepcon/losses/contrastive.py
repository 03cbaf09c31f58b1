"""Similarity maximization: the NT-Xent loss of SimCLR.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (2020),
Algorithm 1: each of the 2N views of a batch picks its partner out of the 2N - 1 others by the
cosine of their projections.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sepcon.replicas import gather_global, num_replicas, xla_island

# From 512 pairs on, on one device, the time that is saved is more than that of compiling.
_MANY_COSINES = 1024 * 1024
# exp((cosine - 1) / temperature) is not below 1e-35 then, and no sum of them is 0.
_LOWEST_TEMPERATURE = 0.025


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
        view=tf.concat([anchor, positive], axis=0),
        candidate=tf.concat([all_anchors, all_positives], axis=0),
        own=tf.concat([column, column + num_pairs], axis=0),
        partner=tf.concat([column + num_pairs, column], axis=0),
        temperature=temperature,
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
    *,
    view: tf.Tensor,
    candidate: tf.Tensor,
    own: tf.Tensor,
    partner: tf.Tensor,
    temperature: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cross-entropy of picking each view's partner among the candidates other than itself.

    Args:
        view: [rows, dim], of length one each.
        candidate: [columns, dim], of length one each; on one replica the views themselves.
        own: [rows] int32, the column of the view itself.
        partner: [rows] int32, the column to pick.
        temperature: divides the cosines.

    Returns:
        loss [rows], and accuracy [rows], 1 or 0.
    """
    many = (view.shape[0] or 0) * (candidate.shape[0] or 0) >= _MANY_COSINES
    if many and temperature >= _LOWEST_TEMPERATURE:
        loss, accuracy = _at_once(view, candidate, own, partner, temperature)
    else:
        loss, accuracy = _step_by_step(view / temperature, candidate, own, partner)
    return loss, tf.stop_gradient(tf.cast(accuracy, loss.dtype))


def _step_by_step(
    view: tf.Tensor, candidate: tf.Tensor, own: tf.Tensor, partner: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss and the hit, bool, of each view, already divided by the temperature."""
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
    view: tf.Tensor, candidate: tf.Tensor, own: tf.Tensor, partner: tf.Tensor, temperature: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """The same numbers in less time and memory, the gradient written by hand.

    For 4096 pairs each pass over the cosines is one over 268 MB, so few are made. No cosine is
    above 1: exp((cosine - 1) / temperature) needs no search for the largest, serves forward and
    backward pass, and is all that is kept. On one replica the matrix is symmetric, and the gradient
    takes one product with it in place of two. Compiling pays for large batches only.
    """
    if num_replicas() == 1:  # then `candidate` holds the views

        @tf.custom_gradient
        def alone(view: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable]:
            loss, hit, power, row_sum = _forward(view, view, own, partner, temperature)

            def gradient(of_loss: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
                return _backward_alone(of_loss, view, partner, power, row_sum, temperature)

            return (loss, hit), gradient

        return alone(view)

    @tf.custom_gradient
    def among_all(
        view: tf.Tensor, candidate: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable]:
        loss, hit, power, row_sum = _forward(view, candidate, own, partner, temperature)

        def gradient(of_loss: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _backward(of_loss, view, candidate, partner, power, row_sum, temperature)

        return (loss, hit), gradient

    return among_all(view, candidate)


def _forward(
    view: tf.Tensor, candidate: tf.Tensor, own: tf.Tensor, partner: tf.Tensor, temperature: float
) -> tuple[tf.Tensor, ...]:
    """Loss; hit as a number; exp((cosine - 1) / temperature), 0 for a view itself; its row sums."""
    # Inside the island XLA would join the product with what follows, and take twice the time.
    logits = tf.matmul(view / temperature, candidate, transpose_b=True)
    return _powers(logits, own, partner, temperature)


@xla_island
def _powers(
    logits: tf.Tensor, own: tf.Tensor, partner: tf.Tensor, temperature: float
) -> tuple[tf.Tensor, ...]:
    """What `_forward` returns, of cosines by temperature."""
    power = tf.exp(logits - 1.0 / temperature)
    is_own = tf.range(logits.shape[1]) == own[:, tf.newaxis]
    power = tf.where(is_own, tf.zeros_like(power), power)
    row_sum = tf.reduce_sum(power, axis=1)
    of_partner = tf.gather_nd(power, tf.stack([tf.range(logits.shape[0]), partner], axis=1))
    # The partner itself is one of them.
    as_near = tf.cast(power >= of_partner[:, tf.newaxis], power.dtype)
    hit = tf.cast(tf.reduce_sum(as_near, axis=1) < 1.5, power.dtype)
    return tf.math.log(row_sum) - tf.math.log(of_partner), hit, power, row_sum


@xla_island
def _backward(
    of_loss: tf.Tensor,
    view: tf.Tensor,
    candidate: tf.Tensor,
    partner: tf.Tensor,
    power: tf.Tensor,
    row_sum: tf.Tensor,
    temperature: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients with respect to view and candidate."""
    is_partner = tf.range(candidate.shape[0]) == partner[:, tf.newaxis]
    share = power / row_sum[:, tf.newaxis] - tf.cast(is_partner, power.dtype)
    of_cosine = (of_loss / temperature)[:, tf.newaxis] * share
    return tf.matmul(of_cosine, candidate), tf.matmul(of_cosine, view, transpose_a=True)


@xla_island
def _backward_alone(
    of_loss: tf.Tensor,
    view: tf.Tensor,
    partner: tf.Tensor,
    power: tf.Tensor,
    row_sum: tf.Tensor,
    temperature: float,
) -> tf.Tensor:
    """The gradient with respect to the views, which are the candidates too.

    With G the gradient with respect to the cosines it is (G + transpose of G) view. Each is the
    partner of its partner.
    """
    weight = of_loss / (row_sum * temperature)
    both = power * (weight[:, tf.newaxis] + weight[tf.newaxis, :])
    of_partners = (of_loss + tf.gather(of_loss, partner)) / temperature
    return tf.matmul(both, view) - of_partners[:, tf.newaxis] * tf.gather(view, partner)
