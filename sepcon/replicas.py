"""Tensors of the global batch, as seen from one replica of a `tf.distribute` strategy."""

import tensorflow as tf


def num_replicas() -> int:
    """Returns how many replicas share the global batch.

    Outside a replica context, where a tensor already holds every row, this is 1.
    """
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def gather_global(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gathers the rows of all replicas, in the order of the replicas.

    The gradient is exact: what the replicas' losses, summed, owe to a row arrives at the replica
    that holds the row. Every replica must hold the same number of rows.

    Args:
        x: [rows, ...], any float or integer type. With more than one replica, half-precision
            types come back as float32, because collectives do not take bfloat16.

    Returns:
        The rows of the global batch, [rows * replicas, ...], and the place of this replica's first
        row among them, [] int32. With one replica, or outside a replica context: `x` itself and 0.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x, tf.constant(0, tf.int32)
    if x.dtype in (tf.bfloat16, tf.float16):
        x = tf.cast(x, tf.float32)
    replicas, replica = context.num_replicas_in_sync, context.replica_id_in_sync_group
    first = tf.cast(replica, tf.int32) * tf.shape(x)[0]
    if not x.shape.is_fully_defined():
        return context.all_gather(x, axis=0), first
    # One collective in place of the two of all_gather, and the shape stays known.
    own = tf.reshape(tf.range(replicas) == replica, [replicas, *[1] * x.shape.rank])
    mine = tf.where(own, x[tf.newaxis], tf.zeros([], x.dtype))  # zeros in the others' places
    everyone = context.all_reduce(tf.distribute.ReduceOp.SUM, mine)
    return tf.reshape(everyone, [replicas * x.shape[0], *x.shape[1:]]), first
