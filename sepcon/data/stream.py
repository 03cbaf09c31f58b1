"""Endless shuffled training batches, a pure function of (clips, seed, step).

The clips of one epoch after the other form an endless row; batch number s holds its places
s * batch_size to (s + 1) * batch_size - 1. So no clip is dropped at the end of an epoch, a batch
may hold the end of one epoch and the beginning of the next, and the batch of any step can be had
without those before it. Everything random about an example comes from counters: its place in the
row decides the epoch and the clip, and (seed, epoch, clip) decide its uniforms. Neither the batch
size nor the number of replicas nor the step at which a run was resumed changes them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os

import numpy as np
import tensorflow as tf

from sepcon.data.channels import StoredChannels
from sepcon.data.clips import ClipDataset, Element, ReadClip, fit_length, map_in_order, reader

# Two numbers of each example are the stream's own: where to crop, and which stored state to read.
_OWN_UNIFORMS = 2
_ORDER, _UNIFORMS = 1, 2


@dataclasses.dataclass(frozen=True)
class TrainingStream:
    """Describes a stream of training batches.

    Attributes:
      clips: where examples come from.
      batch_size: of the GLOBAL batch.
      seed: of order, crops and uniforms.
      clip_samples: every clip is zero-padded to this, or cropped to it at a random place.
      num_uniforms: numbers in [0, 1) that come with each example: all the randomness that a task
        consumes on the device.
      shuffle_buffer: clips are shuffled within runs of this many, and the runs among each other:
        for disks that suffer from reading at random places. None shuffles each epoch as a whole.
      channels: separated channels of the same clips, or None.
      with_sources: whether the known sources of the clips come with them.
      threads: threads that read and decode.
      prefetch: batches kept ready.
    """

    clips: ClipDataset
    batch_size: int
    seed: int
    clip_samples: int
    num_uniforms: int
    shuffle_buffer: int | None = None
    channels: StoredChannels | None = None
    with_sources: bool = False
    threads: int = 2
    prefetch: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "clip_samples", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.num_uniforms < 0:
            raise ValueError(f"num_uniforms: got {self.num_uniforms}, expected 0 or more")
        if self.channels is not None:
            self.channels.check_clips(self.clips)

    def batches(self, start_step: int) -> tf.data.Dataset:
        """Returns the batches from that of `start_step` on, for ever.

        Elements: `audio` int16 [batch, clip_samples], `uniforms` float32 [batch, num_uniforms] in
        [0, 1), `state_uniform` float32 [batch] in [0, 1) (draws one of several separator states,
        stored or on the fly), `labels` float32 [batch, classes], `position` int32 [batch] (the
        clip's number in `clips`), `channels` int16 [batch, channel, clip_samples] where there are
        any, and `sources` int16 [batch, source, clip_samples], rows of zeros for absent ones, if
        asked for.
        """
        batches = map_in_order(
            self._with_ids(start_step),
            lambda batch: {key: value for key, value in batch.items() if key != "id"},
            num_parallel_calls=1,
        )
        return batches.prefetch(self.prefetch)

    def describe(self, step: int) -> str:
        """Returns the ids of the clips in the batch of `step`, for messages."""
        batch = next(iter(self._with_ids(step)))
        ids = [os.fsdecode(identifier) for identifier in batch["id"].numpy()]
        return f"step {step} of {self.clips.name}: clips {', '.join(ids)}"

    def _with_ids(self, start_step: int) -> tf.data.Dataset:
        if start_step < 0:
            raise ValueError(f"start_step: got {start_step}, expected 0 or more")
        read = self._reader()
        examples = map_in_order(
            self._places(start_step * self.batch_size),
            lambda epoch_seed, position: self._example(read(position), epoch_seed),
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

    def _reader(self) -> ReadClip:
        """Reads the clip at a place, with its 'position'.

        A clip that can no longer be read does not end a run of days where its data set knows
        another one to take: then a batch is a pure function of what can be read of the clips.
        """
        if self.clips.read_or_next is not None and not self.with_sources:
            return self.clips.read_or_next
        read = reader(self.clips, sources=self.with_sources)
        return lambda position: {**read(position), "position": position}

    def _places(self, start: int) -> tf.data.Dataset:
        """The endless row from place `start` on: (seed of the epoch int64 [2], position)."""
        first_epoch, skipped = divmod(start, self.clips.num_clips)

        @tf.autograph.experimental.do_not_convert
        def epoch_order(epoch: tf.Tensor) -> tf.data.Dataset:
            epoch_seed = tf.stack([tf.constant(_mixed(self.seed), tf.int64), epoch])
            order = _shuffled(self.clips.num_clips, self.shuffle_buffer, epoch_seed)
            order = order[tf.where(epoch == first_epoch, tf.constant(skipped, tf.int64), 0) :]
            return tf.data.Dataset.from_tensor_slices(order).map(
                lambda position: (epoch_seed, position)
            )

        return tf.data.Dataset.counter(start=first_epoch).flat_map(epoch_order)

    def _example(self, clip: Element, epoch_seed: tf.Tensor) -> Element:
        position = clip["position"]
        seed = tf.random.experimental.stateless_fold_in(epoch_seed, _UNIFORMS)
        seed = tf.random.experimental.stateless_fold_in(seed, position)
        uniforms = tf.random.stateless_uniform(
            [_OWN_UNIFORMS + self.num_uniforms], seed, alg="philox"
        )
        example = {
            "id": clip["id"],
            "audio": fit_length(clip["audio"], self.clip_samples, uniforms[0]),
            "uniforms": uniforms[_OWN_UNIFORMS:],
            "state_uniform": uniforms[1],
            "labels": clip["labels"],
            "position": tf.cast(position, tf.int32),
        }
        if self.channels is not None:
            channels = self.channels.read(position, clip["id"], uniforms[1])
            example["channels"] = fit_length(channels, self.clip_samples, uniforms[0])
        if self.with_sources:
            example["sources"] = fit_length(clip["sources"], self.clip_samples, uniforms[0])
        return example


def _shuffled(num_clips: int, run: int | None, epoch_seed: tf.Tensor) -> tf.Tensor:
    """A permutation int64 [num_clips], by sorting counter-based random keys."""
    seed = tf.random.experimental.stateless_fold_in(epoch_seed, _ORDER)
    keys = _random_keys(num_clips, seed)
    order = tf.argsort(keys, stable=True)
    if run is not None and run < num_clips:
        num_runs = -(-num_clips // run)
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
