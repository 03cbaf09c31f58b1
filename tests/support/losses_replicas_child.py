"""Run by replicas_test.py: writes what two logical CPUs and one compute on one global batch."""

import sys

import numpy as np
import tensorflow as tf

from sepcon.losses.coincidence import coincidence_loss
from sepcon.losses.contrastive import nt_xent
from sepcon.losses.supervised_contrastive import supervised_contrastive
from sepcon.replicas import gather_global, num_replicas

GLOBAL_BATCH, DIM = 6, 4


def contrastive(anchor, positive):
    result = nt_xent(anchor=anchor, positive=positive)
    return tf.reduce_sum(result.loss), tf.reduce_sum(result.accuracy)


def coincidence(anchor, positive):
    everything, row_offset = gather_global(positive)
    logits = tf.matmul(anchor, everything, transpose_b=True)
    return tf.reduce_sum(coincidence_loss(logits=logits, row_offset=row_offset)), 0.0


def supervised(anchor, positive):
    """Two views; the class is that of the first feature's sign, so both replicas hold both."""
    label = tf.cast(tf.stop_gradient(anchor[:, 0]) > 0, tf.int32)
    loss = supervised_contrastive(projection=tf.stack([anchor, positive], axis=1), label=label)
    return tf.reduce_sum(loss), 0.0


def train_step(weights, rows, objective):
    """Returns this replica's share of loss, accuracy and gradient on the global batch."""
    anchor, positive = rows[:, 0], rows[:, 1]
    with tf.GradientTape() as tape:
        loss, accuracy = objective(tf.matmul(anchor, weights), tf.matmul(positive, weights))
        loss /= GLOBAL_BATCH
    context = tf.distribute.get_replica_context()
    gradient = tape.gradient(loss, weights)
    return [
        context.all_reduce("SUM", x)
        for x in (loss, tf.convert_to_tensor(accuracy) / GLOBAL_BATCH, gradient)
    ]


def look_around(rows):
    """Returns what gather_global gives each replica, in half precision and as integers."""
    half, offset = gather_global(tf.cast(rows[:, 0], tf.bfloat16))
    integers, _ = gather_global(tf.cast(100 * rows[:, 1], tf.int32))
    return tf.cast(half, tf.float32), integers, offset, tf.constant(num_replicas())


def run(strategy, rows):
    """Returns all results of one strategy, by name."""
    with strategy.scope():
        weights = tf.Variable(np.random.default_rng(1).standard_normal((DIM, 3)), dtype=tf.float32)
    count = strategy.num_replicas_in_sync
    share = GLOBAL_BATCH // count

    def place(context):
        start = share * context.replica_id_in_sync_group
        return tf.constant(rows[start : start + share])

    shares = strategy.experimental_distribute_values_from_function(place)
    results = {"replicas_outside": num_replicas()}
    for objective in (contrastive, coincidence, supervised):
        step = tf.function(lambda x, f=objective: strategy.run(train_step, (weights, x, f)))
        names = ("loss", "accuracy", "gradient")
        for name, value in zip(names, step(shares), strict=True):
            results[f"{objective.__name__}_{name}"] = strategy.experimental_local_results(value)[0]
    seen = tf.function(lambda x: strategy.run(look_around, (x,)))(shares)
    for name, value in zip(("half", "integers", "offset", "replicas"), seen, strict=True):
        results[name] = np.stack(strategy.experimental_local_results(value))
    return results


def main(path):
    """Writes the results of both strategies into one .npz."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((GLOBAL_BATCH, 1, DIM)).repeat(2, axis=1)
    rows = (rows + 0.5 * rng.standard_normal(rows.shape)).astype(np.float32)
    one = run(tf.distribute.get_strategy(), rows)
    two = run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), rows)
    arrays = {f"one_{k}": v for k, v in one.items()} | {f"two_{k}": v for k, v in two.items()}
    np.savez(path, rows=rows, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
