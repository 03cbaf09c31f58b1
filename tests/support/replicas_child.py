"""Trains the toy task on two logical CPU devices and on one; prints what came out as JSON.

Run by distribution_test.py in a process of its own, because devices are split before first use.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from toy_training import LocalTask, ToyStream, ToyTask, toy_setup, values_of

from sepcon.errors import SepconError
from sepcon.replicas import assumed
from sepcon.training.distribution import distributed_batches, make_strategy
from sepcon.training.loop import fit
from sepcon.training.optimizers import sgd
from sepcon.training.schedules import cosine

CLIP = 0.5


def train(run_dir, strategy, num_steps=6, **arguments):
    # Adam would hide a gradient that is wrong by a factor.
    task, optimizer = toy_setup(
        strategy,
        kind=arguments.pop("kind", ToyTask),
        make_optimizer=lambda: sgd(learning_rate=cosine(peak=0.5, total_steps=8)),
    )
    fit(
        task=task,
        stream=arguments.pop("stream", ToyStream()),
        optimizer=arguments.pop("optimizer", optimizer),
        num_steps=num_steps,
        run_dir=run_dir,
        strategy=strategy,
        steps_per_call=4,
        gradient_clip_norm=CLIP,
        log_every_steps=1,
        **arguments,
    )
    return task


def outcome(task, run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    names = [name for name in lines[0] if name not in ("examples_per_second", "waiting_share")]
    return {
        "weights": [value.tolist() for value in values_of(task.model)],
        "metrics": [{name: line[name] for name in names} for line in lines],
    }


def replica_copies(task):
    """The largest difference between what the replicas hold of a variable."""
    copies = [variable.value.values for variable in task.model.variables]
    return max(float(np.abs(one.numpy() - two.numpy()).max()) for one, two in copies)


def rows(strategy):
    """The positions of the first two batches from step 3 on, per replica."""
    batches = iter(distributed_batches(ToyStream(), 3, strategy))
    both = [strategy.experimental_local_results(next(batches)["position"]) for _ in range(2)]
    return [[part.numpy().tolist() for part in parts] for parts in both]


def message(function):
    try:
        function()
    except (SepconError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def compiled_on_gpus(run_dir, strategy):
    with assumed(accelerator=True):
        train(run_dir, strategy, kind=LocalTask, jit_compile=True)


def main(folder):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two, one = make_strategy("mirrored"), make_strategy("default")
    results = {"replicas": two.num_replicas_in_sync}
    for name, strategy in (("one", one), ("two", two)):
        task = train(folder / name, strategy)
        results[name] = outcome(task, folder / name)
        compiled = train(folder / f"{name}_jit", strategy, kind=LocalTask, jit_compile=True)
        results[f"{name}_compiled"] = outcome(compiled, folder / f"{name}_jit")
    results["replica_copies"] = replica_copies(task)
    # A run that began on two devices goes on, on one.
    train(folder / "moved", two, num_steps=3)
    results["moved"] = outcome(train(folder / "moved", one), folder / "moved")
    results["rows"] = {"one": rows(one), "two": rows(two)}
    results["messages"] = {
        "batch_size": message(lambda: train(folder / "a", two, stream=ToyStream(batch_size=7))),
        "scope": message(lambda: train(folder / "b", two, optimizer=keras.optimizers.Adam())),
        "gpus": message(lambda: compiled_on_gpus(folder / "e", two)),
        "compiled": message(lambda: train(folder / "d", two, jit_compile=True)),
        "tpu": message(lambda: make_strategy("tpu")),
        "devices": message(lambda: make_strategy("mirrored", num_devices=3)),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
