"""Batches of rows in random order from clips of any number, through a buffer of bounded size."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from sepcon.embeddings.sources import HELD_BYTES, EmbeddingSource, row_bytes
from sepcon.embeddings.store import Embeddings

Sampling = Literal["plain", "class_balanced"]
SAMPLINGS = ("plain", "class_balanced")


@dataclasses.dataclass(frozen=True)
class Block:
    """Rows in memory and the batches to take of them.

    Attributes:
      inputs: [capacity, dim] float32, of which not all rows need be used.
      targets: [capacity, classes] uint8.
      batches: [steps, batch] int32, rows.
    """

    inputs: np.ndarray
    targets: np.ndarray
    batches: np.ndarray


class TrainingBlocks:
    """Shuffles rows epoch after epoch.

    Clips in memory are one block, shuffled as a whole. For a store, each epoch takes the shards in
    another order, fills a buffer with as many shards as fit, shuffles its rows, and fills the next
    buffer while these are used. Rows that are too few for a batch wait for the next buffer; at the
    end of an epoch they are left out, other rows each time. The order depends on the seed only.

    "plain" takes every row once in an epoch. "class_balanced" draws as many rows with replacement.
    The probability of a row is proportional to the sum of 1 / (rows with that label) over its
    labels: so all classes are drawn equally often, and rows without a label never.

    Args:
      source: clips, at least one.
      label_rows: [classes] rows with each label in the whole source.
      batch_size: rows in a batch; all of them where there are fewer.
      sampling: "plain" or "class_balanced".
      max_bytes: of a block; two are in memory.
    """

    def __init__(
        self,
        source: EmbeddingSource,
        *,
        label_rows: np.ndarray,
        batch_size: int,
        sampling: Sampling = "plain",
        max_bytes: int = HELD_BYTES,
    ) -> None:
        self._source = source
        self._rows = sum(source.shard_rows)
        self._batch = min(batch_size, self._rows)
        self._balanced = sampling == "class_balanced"
        self._weights = 1.0 / np.maximum(label_rows, 1)  # [classes]
        self._total_weight = float((label_rows > 0).sum())
        most = max(source.shard_rows)
        # No more than there are: every block is copied as a whole.
        self._block_rows = max(most, min(self._rows, max_bytes // row_bytes(source)))

    def epoch(self, random: np.random.Generator) -> Iterator[Block]:
        """Yields the blocks of one epoch; a block is valid until the next is asked for."""
        if isinstance(self._source, Embeddings):
            rows = self._shuffled(self._source.row_labels, random)
            steps = len(rows) // self._batch
            batches = rows[: steps * self._batch].reshape(steps, self._batch)
            yield Block(self._source.embedding, self._source.row_labels, batches.astype(np.int32))
        else:
            yield from self._streamed_epoch(random)

    def _streamed_epoch(self, random: np.random.Generator) -> Iterator[Block]:
        groups = self._groups(random.permutation(len(self._source.shard_rows)))
        free = [self._new_buffer() for _ in range(2)]
        waiting = _Rows(free[0].inputs[:0].copy(), free[0].targets[:0].copy())
        with concurrent.futures.ThreadPoolExecutor(1) as reader:
            pending = reader.submit(self._fill, free[0], groups[0])
            for number in range(len(groups)):
                buffer, count = free[number % 2], pending.result()
                if number + 1 < len(groups):
                    pending = reader.submit(self._fill, free[(number + 1) % 2], groups[number + 1])
                # Rows that wait stand right before the new ones, which begin at row `batch`.
                start = self._batch - len(waiting.inputs)
                buffer.inputs[start : self._batch] = waiting.inputs
                buffer.targets[start : self._batch] = waiting.targets
                new = buffer.targets[self._batch : self._batch + count]
                order = np.concatenate(
                    [np.arange(start, self._batch), self._batch + self._shuffled(new, random)]
                )
                steps = len(order) // self._batch
                if steps:
                    batches = order[: steps * self._batch].reshape(steps, self._batch)
                    yield Block(buffer.inputs, buffer.targets, batches.astype(np.int32))
                left = order[steps * self._batch :]
                waiting = _Rows(buffer.inputs[left], buffer.targets[left])

    def _groups(self, order: np.ndarray) -> list[list[int]]:
        """Cuts the order of the shards where the buffer is full."""
        groups: list[list[int]] = [[]]
        rows = 0
        for shard in order.tolist():
            size = self._source.shard_rows[shard]
            if groups[-1] and rows + size > self._block_rows:
                groups.append([])
                rows = 0
            groups[-1].append(shard)
            rows += size
        return groups

    def _new_buffer(self) -> _Rows:
        rows = self._batch + self._block_rows
        return _Rows(
            np.zeros((rows, self._source.dim), np.float32),
            np.zeros((rows, len(self._source.class_names)), np.uint8),
        )

    def _fill(self, buffer: _Rows, shards: Sequence[int]) -> int:
        start = self._batch
        for shard in shards:
            clips = self._source.shard(shard)
            stop = start + len(clips.embedding)
            buffer.inputs[start:stop] = clips.embedding
            buffer.targets[start:stop] = clips.row_labels
            start = stop
        return start - self._batch

    def _shuffled(self, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns positions in `labels` [rows, classes], in the order of their use."""
        if not self._balanced:
            return random.permutation(len(labels))
        weights = labels @ self._weights
        total = float(weights.sum())
        if total == 0:
            return np.zeros(0, np.int64)
        draws = round(self._rows * total / self._total_weight)
        return random.choice(len(labels), size=draws, p=weights / total)


@dataclasses.dataclass(frozen=True)
class _Rows:
    inputs: np.ndarray
    targets: np.ndarray
