"""Endless shuffled training batches, a pure function of (examples, seed, step).

The examples of one epoch after the other form an endless row; batch number s holds its places
s * batch_size to (s + 1) * batch_size - 1. So no example is dropped at the end of an epoch, a batch
may hold the end of one epoch and the beginning of the next, and the batch of any step can be had
without those before it. Everything random about an example comes from counters: its place in the
row decides the epoch and the example, and (seed, epoch, example) decide its uniforms. Neither the
batch size nor the number of replicas nor the step at which a run was resumed changes them.

The stream does not know what an example is: see `Examples`.
"""

from __future__ import annotations

import dataclasses
import functools
import os

import numpy as np
import tensorflow as tf

from sepcon.data.examples import Example, Examples, ExamplesInRows, ReadExample, map_in_order
from sepcon.data.random_order.epochs import EndlessRow

_OWN_KEYS = {"uniforms", "position"}
# Examples that are read in rows: enough that a call costs little, few enough to read in parallel.
_ROWS_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class TrainingStream:
    """Describes a stream of training batches.

    Attributes:
      examples: what batches are made of.
      batch_size: of the GLOBAL batch.
      seed: of the order, of random choices in reading, and of the uniforms.
      num_uniforms: random numbers in [0, 1) that come with each example: all the randomness that a
        task uses on the device.
      shuffle_buffer: examples are shuffled within blocks of this many, and the blocks among each
        other, for disks that are slow at random access. None shuffles each epoch as a whole.
      threads: threads that read and decode; None for 2, or twice the cores and at most 32 where
        reading is waiting for the disk.
      prefetch: batches kept ready.
    """

    examples: Examples | ExamplesInRows
    batch_size: int
    seed: int
    num_uniforms: int
    shuffle_buffer: int | None = None
    threads: int | None = None
    prefetch: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}: got {value}, expected 1 or more")
        if self.num_uniforms < 0:
            raise ValueError(f"num_uniforms: got {self.num_uniforms}, expected 0 or more")
        if self.shuffle_buffer is not None and self.shuffle_buffer < 1:
            raise ValueError(f"shuffle_buffer: got {self.shuffle_buffer}, expected 1 or more")
        _ = self._read  # What is wrong with the examples is told at once.

    @property
    def identity(self) -> str:
        """Name and number of the examples; a run goes on only where they are the same as before."""
        return f"{self.examples.num_examples} examples of {self.examples.name}"

    @property
    def earlier_identity(self) -> str:
        """What the stream was in versions before checkpoints said what they were trained on."""
        name = getattr(self.examples, "earlier_name", self.examples.name)
        return f"{self.examples.num_examples} examples of {name}"

    @property
    def digest(self) -> str:
        """Tells the examples from others of the same name and number, where they can tell."""
        return getattr(self.examples, "digest", "")

    def batches(self, start_step: int, rows: range | None = None) -> tf.data.Dataset:
        """Returns an endless data set of batches.

        Args:
          start_step: steps done before.
          rows: those rows of each global batch that are read; None for all. A row holds the same
            whoever reads it.

        Returns:
          Elements: all parts of the examples except their ids, stacked to [rows, ...]; `uniforms`
          float32 [rows, num_uniforms] in [0, 1); `position` int32 [rows], the number of each
          example.
        """
        rows = range(self.batch_size) if rows is None else rows
        if (start_step, rows) not in self._made:
            batches = map_in_order(
                self._with_ids(start_step, rows),
                lambda batch: {key: value for key, value in batch.items() if key != "id"},
                num_parallel_calls=1,
            )
            self._made[start_step, rows] = batches.prefetch(self.prefetch)
        return self._made[start_step, rows]

    def describe(self, step: int) -> str:
        """Returns the ids of the examples in the batch of `step`, for messages."""
        batch = next(iter(self._with_ids(step, range(self.batch_size))))
        ids = [os.fsdecode(identifier) for identifier in batch["id"].numpy()]
        return f"step {step} of {self.examples.name}: examples {', '.join(ids)}"

    @functools.cached_property
    def _made(self) -> dict[tuple[int, range], tf.data.Dataset]:
        """Batches by the step that they start from: a run asks four times."""
        return {}

    @functools.cached_property
    def _read(self) -> ReadExample:
        if isinstance(self.examples, ExamplesInRows):
            return self.examples.row_reader()
        return self.examples.reader()

    @property
    def _in_rows(self) -> bool:
        return isinstance(self.examples, ExamplesInRows)

    @functools.cached_property
    def _row(self) -> EndlessRow:
        return EndlessRow(self.examples.num_examples, self.seed, self.shuffle_buffer)

    def _with_ids(self, start_step: int, rows: range) -> tf.data.Dataset:
        if start_step < 0:
            raise ValueError(f"start_step: got {start_step}, expected 0 or more")
        threads = self.threads or (min(32, 2 * (os.cpu_count() or 1)) if self._in_rows else 2)
        drawn = self._drawn(start_step, rows)
        if self._in_rows:
            examples = map_in_order(drawn, self._examples, num_parallel_calls=threads)
            batches = examples.rebatch(len(rows), drop_remainder=True)
        else:
            examples = map_in_order(drawn.unbatch(), self._examples, num_parallel_calls=threads)
            batches = examples.batch(len(rows), drop_remainder=True)
        options = tf.data.Options()
        options.deterministic = True
        options.threading.private_threadpool_size = threads
        # Autotuning moves threads about for little: the work per example is known and even.
        options.autotune.enabled = False
        # Everyone knows which rows are his.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return batches.with_options(options)

    @property
    def _width(self) -> int:
        return self.examples.num_uniforms + self.num_uniforms

    def _drawn(self, start_step: int, rows: range) -> tf.data.Dataset:
        """Positions int64 [n] and uniforms float32 [n, ...] of the examples, some at a time."""
        # One column at least: `unbatch` of rows without any element ends in a segmentation fault.
        width = max(1, self._width)
        parts = [
            rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)
        ]

        def draw(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            step, part = divmod(int(number), len(parts))
            place = (start_step + step) * self.batch_size
            epochs, positions = self._row.examples(
                place + parts[part].start, place + parts[part].stop
            )
            return positions, self._row.uniforms(epochs, positions, width)

        def element(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            positions, uniforms = tf.numpy_function(
                draw, [number], [tf.int64, tf.float32], stateful=False
            )
            return tf.ensure_shape(positions, [None]), tf.ensure_shape(uniforms, [None, width])

        return map_in_order(tf.data.Dataset.counter(), element, num_parallel_calls=1)

    def _examples(self, position: tf.Tensor, uniforms: tf.Tensor) -> Example:
        """Reads an example [], or several [n], and adds what the stream knows of them."""
        uniforms = uniforms[..., : self._width]
        example = self._read(position, uniforms)
        if taken := _OWN_KEYS & set(example):
            raise ValueError(
                f"examples of {self.examples.name} hold {', '.join(sorted(taken))}, which the "
                "stream adds itself: give it another name"
            )
        return {
            **example,
            "uniforms": uniforms[..., self.examples.num_uniforms :],
            "position": tf.cast(position, tf.int32),
        }
