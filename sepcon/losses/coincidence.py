"""Coincidence prediction: do two views come from the same clip?

Jansen et al., "Coincidence, Categorization, and Consolidation" (2020). Unlike a contrastive loss
it does not ask two embeddings to be close, only that their belonging together be predictable.
"""

import tensorflow as tf


def coincidence_loss(*, logits: tf.Tensor, row_offset: tf.Tensor | int = 0) -> tf.Tensor:
    """Balanced binary cross-entropy of every pair (anchor i, positive j) of the global batch.

    Row i: -log p_ii - 1/(B-1) sum over j != i of log(1 - p_ij), with p = sigmoid(logits). At
    logits of zero, which is chance, each row is 2 ln 2.

    Args:
        logits: [rows, global_batch] float, this replica's anchors against all positives.
        row_offset: [] int32, the column that belongs to the first row (`gather_global` gives it).

    Returns:
        [rows] float32 (float64 for float64 logits). The caller divides their sum by the global
        batch size.

    Raises:
        ValueError: if the global batch holds a single clip: nothing is there to tell it from.
            Where its size is not known in tracing, the loss of a single clip is NaN (accelerators
            drop assertions from their graphs).
    """
    logits = tf.convert_to_tensor(logits)
    if logits.shape[1] == 1:
        raise ValueError("logits have one column: coincidence needs a global batch of at least 2")
    if logits.dtype != tf.float64:
        logits = tf.cast(logits, tf.float32)
    rows, columns = tf.unstack(tf.shape(logits))
    # With l the logit: -log p = softplus(-l) and -log(1 - p) = softplus(l), both without overflow.
    own = tf.one_hot(tf.range(rows) + row_offset, columns, dtype=logits.dtype)
    share = (1 - own) / tf.cast(columns - 1, logits.dtype)
    return tf.reduce_sum(own * tf.math.softplus(-logits) + share * tf.math.softplus(logits), axis=1)
