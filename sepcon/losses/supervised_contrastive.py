"""Supervised contrastive loss: examples of one class attract each other.

Khosla et al., "Supervised Contrastive Learning" (2020), equation 2 (L_out, the sum over positives
outside of the logarithm), as SoundCLR (Nasiri and Hu, 2021) uses it.
"""

from __future__ import annotations

import tensorflow as tf

from sepcon.losses.contrastive import unit_rows
from sepcon.replicas import gather_global


def supervised_contrastive(
    *, projection: tf.Tensor, label: tf.Tensor, temperature: float = 0.05
) -> tf.Tensor:
    """The loss of each example of this replica, with the examples of all replicas to compare with.

    Every view of every example is an anchor. Its positives are all other views of its class, its
    own example's among them; the loss is the mean over them of the cross-entropy of picking that
    positive out of all views but the anchor. With two views and no class twice this is NT-Xent.

    Args:
      projection: [batch, views, dim] float, of any length: it is normalised here. One view or more.
      label: [batch] integer class, not negative.
      temperature: divides the cosines, above 0.

    Returns:
      [batch] float32 (float64 for float64 inputs), the mean over the views of each example. An
      anchor without any positive contributes 0, and counts in means as it does in the authors'
      code.

    Raises:
      ValueError: shapes do not fit, or the temperature is not positive.
    """
    projection, label = tf.convert_to_tensor(projection), tf.convert_to_tensor(label)
    if projection.shape.rank != 3 or label.shape.rank != 1:
        raise ValueError(
            "projection must be [batch, views, dim] and label [batch], got "
            f"{projection.shape} and {label.shape}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    views = projection.shape[1]
    anchor = unit_rows(tf.reshape(projection, [-1, projection.shape[2]]))  # [batch * views, dim]
    of_anchor = tf.repeat(label, views)
    candidate, offset = gather_global(anchor)
    of_candidate, _ = gather_global(of_anchor)

    logits = tf.matmul(anchor / temperature, candidate, transpose_b=True)  # [rows, columns]
    column = tf.range(tf.shape(candidate)[0])
    own = column == (tf.range(tf.shape(anchor)[0]) + offset)[:, tf.newaxis]
    log_others = tf.reduce_logsumexp(tf.where(own, logits.dtype.min, logits), axis=1, keepdims=True)
    positive = (of_anchor[:, tf.newaxis] == of_candidate) & ~own
    # What is masked may be infinite in a batch of a single view, and 0 * infinity is no number.
    cross_entropy = tf.where(positive, log_others - logits, 0)
    count = tf.reduce_sum(tf.cast(positive, logits.dtype), axis=1)
    loss = tf.reduce_sum(cross_entropy, axis=1) / tf.maximum(count, 1)  # [batch * views]
    return tf.reduce_mean(tf.reshape(loss, [-1, views]), axis=1)
