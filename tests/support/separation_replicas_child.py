"""One step of the separation task on two logical CPU devices and on one; prints both as JSON.

Run by tests/tasks/separation_test.py in a process of its own: devices are split before first use.
"""

import json

import tensorflow as tf
from separation_setup import make_batch, make_scenes, make_task

CASES = {
    "mixit": (make_batch, {}),
    "semi_supervised": (
        make_scenes,
        {"supervised_share": 0.5, "sparsity_weight": 1.0, "covariance_weight": 1.0},
    ),
}


def one_step(strategy, name):
    make, options = CASES[name]
    with strategy.scope():
        task = make_task(**options)
    batch = make()
    replicas = strategy.num_replicas_in_sync

    def rows(context):
        share = len(batch["audio"]) // replicas
        start = context.replica_id_in_sync_group * share
        return {name: value[start : start + share] for name, value in batch.items()}

    @tf.function(autograph=False)
    def step(local):
        def run(local):
            variables = [variable.value for variable in task.model.trainable_variables]
            with tf.GradientTape() as tape:
                values = task.loss(local, training=True)
            return values, tape.gradient(values["loss"], variables)

        return strategy.run(run, args=(local,))

    results = step(strategy.experimental_distribute_values_from_function(rows))
    summed = tf.nest.map_structure(
        lambda value: strategy.reduce("SUM", value, axis=None).numpy().tolist(), results
    )
    return {"values": summed[0], "gradients": summed[1]}


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    results = {
        name: {
            "replicas": two.num_replicas_in_sync,
            "one": one_step(one, name),
            "two": one_step(two, name),
        }
        for name in CASES
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
