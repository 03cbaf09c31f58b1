"""Endless shuffled training batches, a pure function of (examples, seed, step).

The examples of one epoch after the other form an endless row; batch number s holds its places
s * batch_size to (s + 1) * batch_size - 1. So no example is dropped at the end of an epoch, a batch
may hold the end of one epoch and the beginning of the next, and the batch of any step can be had
without those before it. Everything random about an example comes from counters: its place in the
row decides the epoch and the example, and (seed, epoch, example) decide its uniforms. Neither the
batch size nor the number of replicas nor the step at which a run was resumed changes them.

What an example is, the stream does not know: see `Examples`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os

import numpy as np
import tensorflow as tf

from sepcon.data.examples import Example, Examples, ReadExample, map_in_order

_ORDER, _UNIFORMS = 1, 2
_OWN_KEYS = {"uniforms", "position"}


@dataclasses.dataclass(frozen=True)
class TrainingStream:
    """Describes a stream of training batches.

    Attributes:
      examples: what batches are made of.
      batch_size: of the GLOBAL batch.
      seed: of order, of what is random in reading, and of uniforms.
      num_uniforms: numbers in [0, 1) that come with each example: all the randomness that a task
        consumes on the device.
      shuffle_buffer: examples are shuffled within runs of this many, and the runs among each other:
        for disks that suffer from reading at random places. None shuffles each epoch as a whole.
      threads: threads that read and decode.
      prefetch: batches kept ready.
    """

    examples: Examples
    batch_size: int
    seed: int
    num_uniforms: int
    shuffle_buffer: int | None = None
    threads: int = 2
    prefetch: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.num_uniforms < 0:
            raise ValueError(f"num_uniforms: got {self.num_uniforms}, expected 0 or more")
        if self.shuffle_buffer is not None and self.shuffle_buffer < 1:
            raise ValueError(f"shuffle_buffer: got {self.shuffle_buffer}, expected 1 or more")
        _ = self._read  # What is wrong with the examples is told at once.

    @property
    def identity(self) -> str:
        """The name and the number of the examples: what a run must find again to go on."""
        return f"{self.examples.num_examples} examples of {self.examples.name}"

    @property
    def digest(self) -> str:
        """Tells the examples from others of the same name and number, where they can tell."""
        return getattr(self.examples, "digest", "")

    def batches(self, start_step: int) -> tf.data.Dataset:
        """Returns the batches from that of `start_step` on, for ever.

        Elements: what the examples hold but for their ids, stacked to [batch, ...]; `uniforms`
        float32 [batch, num_uniforms] in [0, 1); `position` int32 [batch], the number of each
        example.
        """
        if start_step not in self._made:
            batches = map_in_order(
                self._with_ids(start_step),
                lambda batch: {key: value for key, value in batch.items() if key != "id"},
                num_parallel_calls=1,
            )
            self._made[start_step] = batches.prefetch(self.prefetch)
        return self._made[start_step]

    def describe(self, step: int) -> str:
        """Returns the ids of the examples in the batch of `step`, for messages."""
        batch = next(iter(self._with_ids(step)))
        ids = [os.fsdecode(identifier) for identifier in batch["id"].numpy()]
        return f"step {step} of {self.examples.name}: examples {', '.join(ids)}"

    @functools.cached_property
    def _made(self) -> dict[int, tf.data.Dataset]:
        """Batches by the step that they start from: a run asks four times."""
        return {}

    @functools.cached_property
    def _read(self) -> ReadExample:
        return self.examples.reader()

    def _with_ids(self, start_step: int) -> tf.data.Dataset:
        if start_step < 0:
            raise ValueError(f"start_step: got {start_step}, expected 0 or more")
        examples = map_in_order(
            self._places(start_step * self.batch_size),
            self._example,
            num_parallel_calls=self.threads,
        )
        options = tf.data.Options()
        options.deterministic = True
        options.threading.private_threadpool_size = self.threads
        # Autotuning moves threads about for little: the work per example is known and even.
        options.autotune.enabled = False
        # Everyone reads the same files; each replica takes its rows of the global batch.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return examples.batch(self.batch_size, drop_remainder=True).with_options(options)

    def _places(self, start: int) -> tf.data.Dataset:
        """The endless row from place `start` on: (seed of the epoch int64 [2], position)."""
        num_examples = self.examples.num_examples
        first_epoch, skipped = divmod(start, num_examples)

        @tf.autograph.experimental.do_not_convert
        def epoch_order(epoch: tf.Tensor) -> tf.data.Dataset:
            epoch_seed = tf.stack([tf.constant(_mixed(self.seed), tf.int64), epoch])
            order = _shuffled(num_examples, self.shuffle_buffer, epoch_seed)
            order = order[tf.where(epoch == first_epoch, tf.constant(skipped, tf.int64), 0) :]
            return tf.data.Dataset.from_tensor_slices(order).map(
                lambda position: (epoch_seed, position)
            )

        return tf.data.Dataset.counter(start=first_epoch).flat_map(epoch_order)

    def _example(self, epoch_seed: tf.Tensor, position: tf.Tensor) -> Example:
        """Draws the random numbers of an example, then reads it."""
        of_reading = self.examples.num_uniforms
        seed = tf.random.experimental.stateless_fold_in(epoch_seed, _UNIFORMS)
        seed = tf.random.experimental.stateless_fold_in(seed, position)
        uniforms = tf.random.stateless_uniform([of_reading + self.num_uniforms], seed, alg="philox")
        example = self._read(position, uniforms)
        if taken := _OWN_KEYS & set(example):
            raise ValueError(
                f"examples of {self.examples.name} hold {', '.join(sorted(taken))}, which the "
                "stream adds itself: give it another name"
            )
        return {
            **example,
            "uniforms": uniforms[of_reading:],
            "position": tf.cast(position, tf.int32),
        }


def _shuffled(num_examples: int, run: int | None, epoch_seed: tf.Tensor) -> tf.Tensor:
    """A permutation int64 [num_examples], by sorting counter-based random keys."""
    seed = tf.random.experimental.stateless_fold_in(epoch_seed, _ORDER)
    keys = _random_keys(num_examples, seed)
    order = tf.argsort(keys, stable=True)
    if run is not None and run < num_examples:
        num_runs = -(-num_examples // run)
        run_seed = tf.random.experimental.stateless_fold_in(seed, 1)
        rank = tf.argsort(tf.argsort(_random_keys(num_runs, run_seed), stable=True), stable=True)
        # A stable sort by run keeps the random order within each.
        order = tf.gather(order, tf.argsort(tf.gather(rank, order // run), stable=True))
    return tf.cast(order, tf.int64)


def _random_keys(count: int, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform(
        [count], seed, minval=None, maxval=None, dtype=tf.int64, alg="philox"
    )


def _mixed(seed: int) -> int:
    """A 63-bit number from any integer seed: neighbours have nothing in common."""
    digest = hashlib.sha256(str(int(seed)).encode()).digest()
    return int(np.frombuffer(digest[:8], np.uint64)[0] >> np.uint64(1))
