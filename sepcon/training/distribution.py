"""Devices: a strategy by its name, and the rows of a batch that each replica gets."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sepcon.errors import SepconError, one_line
from sepcon.replicas import first_gpu
from sepcon.training.task import Stream
from sepcon.training.waiting import Waiting

# The jobs of TF_CONFIG whose processes train.
_JOBS = ("chief", "worker")
STRATEGIES = ("default", "mirrored", "multi_worker", "tpu")


def make_strategy(
    name: str = "default", *, num_devices: int | None = None, tpu: str = "local"
) -> tf.distribute.Strategy:
    """Makes the distribution strategy of that name.

    Args:
      name: 'default' (one device), 'mirrored' (all accelerators of this machine), 'multi_worker'
        (several machines, told by the environment variable TF_CONFIG; call this before any other
        use of TensorFlow) or 'tpu' (never tried on a real TPU).
      num_devices: for 'mirrored': use only the first ones.
      tpu: for 'tpu': name or address; 'local' on a TPU VM.

    Returns:
      The strategy. Make models and optimizers inside its `scope()`.

    Raises:
      SepconError: unknown name, or the devices are not there.
    """
    if name == "default":
        gpu = first_gpu()
        # Batches are then copied to the GPU ahead of their steps.
        return tf.distribute.OneDeviceStrategy(gpu) if gpu else tf.distribute.get_strategy()
    if name == "mirrored":
        return _mirrored(num_devices)
    if name == "multi_worker":
        return _multi_worker()
    if name == "tpu":
        return _tpu(tpu)
    raise SepconError(f"strategy: got {name!r}, expected one of {', '.join(STRATEGIES)}")


def _mirrored(num_devices: int | None) -> tf.distribute.Strategy:
    seen = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    wanted = len(seen) if num_devices is None else num_devices
    if not 1 <= wanted <= len(seen):
        found = ", ".join(device.name for device in seen)
        raise SepconError(
            f"strategy 'mirrored': num_devices is {wanted}, but TensorFlow sees {len(seen)} "
            f"({found}); ask for at most that many"
        )
    return tf.distribute.MirroredStrategy([device.name for device in seen[:wanted]])


def _multi_worker() -> tf.distribute.Strategy:
    _check_tf_config(os.environ.get("TF_CONFIG"))
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise SepconError(
            f"strategy 'multi_worker': the workers of TF_CONFIG did not come together: "
            f"{one_line(error)}"
        ) from error


def _check_tf_config(text: str | None) -> None:
    example = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    if not text:
        raise SepconError(
            f"strategy 'multi_worker': the environment variable TF_CONFIG is not set; give every "
            f"worker one like {example}"
        )
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        job, index = task.get("type", "worker"), task["index"]
        good = any(cluster.get(name) for name in _JOBS) and (
            job not in _JOBS or len(cluster[job]) > index >= 0
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise SepconError(
            f"strategy 'multi_worker': TF_CONFIG is {text!r}, expected something like {example}"
        )
    others = sorted({*cluster, job} - set(_JOBS))
    if others:
        raise SepconError(
            f"strategy 'multi_worker': TF_CONFIG names {', '.join(others)}; every process here "
            "trains and holds all weights: leave out parameter servers and evaluators"
        )


def _tpu(tpu: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        if tpu != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise SepconError(
            f"strategy 'tpu': no TPU answers as {tpu!r}: {one_line(error)}; run on a TPU VM with "
            "the package tensorflow-tpu, or choose another strategy"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes files: the job `chief`, or else worker 0."""
    if num_workers(strategy) == 1:
        return True
    resolver = strategy.cluster_resolver
    if "chief" in resolver.cluster_spec().as_dict():
        return resolver.task_type == "chief"
    return resolver.task_id == 0


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """The number of processes that train together."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return 1
    cluster = resolver.cluster_spec().as_dict()
    return max(1, sum(len(cluster.get(job, ())) for job in _JOBS))


def wait_for_chief(strategy: tf.distribute.Strategy) -> None:
    """To be called by every worker at its very end: none leaves before the chief is done.

    A worker that ends early is taken for lost, and then TensorFlow ends the chief, which perhaps is
    still at what comes after training.
    """
    sum_over_workers(strategy, 0)


def sum_over_workers(strategy: tf.distribute.Strategy, value: int) -> int:
    """Sums a number over all workers, each of which must call this at the same point.

    Args:
      strategy: the one that the workers share.
      value: this worker's number.

    Returns:
      The same sum on every worker.
    """
    if num_workers(strategy) == 1:
        return value
    replicas_here = strategy.num_replicas_in_sync // num_workers(strategy)
    return int(_adder(strategy)(tf.constant(value, tf.int64))) // replicas_here


@functools.cache
def _adder(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """One function for all calls: a new one is traced anew and names its collectives anew."""

    @tf.function(autograph=False)
    def add(share: tf.Tensor) -> tf.Tensor:
        shares = strategy.run(lambda x: x, args=(share,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)

    return add


def distributed_batches(
    stream: Stream,
    start_step: int,
    strategy: tf.distribute.Strategy,
    waiting: Waiting | None = None,
) -> Any:
    """Batches from `start_step` on, shared among the replicas.

    Replica r of R gets the rows from r * B / R up to, not including, (r + 1) * B / R of every
    global batch of B rows, under every strategy, so that the data of a step do not depend on the
    devices. (Automatic sharding would deal the examples out in an order of its own.) A worker reads
    only the rows of its own replicas.

    Args:
      stream: gives global batches.
      start_step: steps done before.
      strategy: whose replicas share every batch.
      waiting: counts the time until this worker's rows of each batch are there; None for no clock.

    Returns:
      An iterable of what `strategy.run` takes; static shapes.

    Raises:
      SepconError: the batch size is not a multiple of the number of replicas.
      ValueError: a batch without static shapes.
    """
    replicas = strategy.num_replicas_in_sync

    def rows_of_this_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        size = check_batch(stream.batches(0).element_spec, replicas)
        here = size // context.num_input_pipelines
        first = context.input_pipeline_id * here
        dataset = stream.batches(start_step, range(first, first + here))
        if waiting is not None:
            dataset = waiting.timed(dataset)
        if replicas > 1:
            replicas_here = replicas // context.num_input_pipelines
            dataset = dataset.flat_map(lambda batch: _per_replica(batch, replicas_here))
        # An endless dataset has no last short batch: without this the strategy guards against one
        # and the shapes are no longer static.
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        # The stream has its own prefetch; one that sizes itself grows to gigabytes.
        return dataset.apply(endless)

    return strategy.distribute_datasets_from_function(rows_of_this_worker)


def _per_replica(batch: dict[str, tf.Tensor], replicas: int) -> tf.data.Dataset:
    """Cuts the rows of a worker into those of each of its replicas, in order."""

    def cut(rows: tf.Tensor) -> tf.Tensor:
        return tf.reshape(rows, [replicas, rows.shape[0] // replicas, *rows.shape[1:]])

    return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(cut, batch))


def check_batch(spec: dict[str, tf.TensorSpec], replicas: int) -> int:
    """Checks that replicas can share a batch.

    Args:
      spec: name -> shape and dtype of each part of a global batch: [rows, ...], all static.
      replicas: devices that share it.

    Returns:
      The number of rows.

    Raises:
      ValueError: a part has no static shape, or the parts differ in rows.
      SepconError: the rows cannot be divided equally among the replicas.
    """
    for name, part in spec.items():
        if not part.shape.is_fully_defined() or part.shape.rank == 0:
            raise ValueError(f"stream: {name!r} needs a static shape with rows, got {part.shape}")
    sizes = {name: part.shape[0] for name, part in spec.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"stream: all parts of a batch must have as many rows, got {sizes}")
    (size,) = set(sizes.values())
    if size % replicas:
        raise SepconError(
            f"batch_size: got {size}, which {replicas} replicas cannot share equally; choose a "
            f"multiple of {replicas}"
        )
    return size
