"""Clip embeddings one shard at a time: what fits is held in memory, what does not is streamed.

Everything that learns from embeddings or scores them takes an `EmbeddingSource`: a store of any
number of clips, or clips in memory, which count as a single shard. The same code goes through both,
and the memory that it needs depends only on `HELD_BYTES` and on the size of a shard.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from sepcon.embeddings.store import Embeddings, concatenate

# Up to this size clips are held in memory, and shuffled as a whole. 100,000 clips of 512 numbers
# and 527 classes.
HELD_BYTES = 256 << 20
_ROWS_AT_ONCE = 256
# Labels that may wait to be sorted when few clips of each class are chosen.
_MOST_CANDIDATES = 200_000


class EmbeddingSource(Protocol):
    """Clips in shards: `Embeddings`, an `EmbeddingStore`, or a part or change of one."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The columns of the labels."""

    @property
    def dim(self) -> int:
        """Numbers in a row."""

    @property
    def shard_rows(self) -> tuple[int, ...]:
        """Rows of each shard."""

    def __len__(self) -> int:
        """Number of clips."""

    def shard(self, shard: int) -> Embeddings:
        """Reads one shard."""


@dataclasses.dataclass(frozen=True)
class RowStatistics:
    """Statistics of the rows of a source.

    Attributes:
      rows: how many there are.
      mean: [dim] float32.
      deviation: [dim] float32; 1 where a dimension is constant.
      label_rows: [classes] how many rows have each label.
    """

    rows: int
    mean: np.ndarray
    deviation: np.ndarray
    label_rows: np.ndarray


def shards_ahead(
    source: EmbeddingSource, order: Iterable[int] | None = None
) -> Iterator[Embeddings]:
    """Yields shards while the next one is read in the background.

    Args:
      source: what to read.
      order: numbers of shards; all in their order by default.
    """
    numbers = list(range(len(source.shard_rows)) if order is None else order)
    with concurrent.futures.ThreadPoolExecutor(1) as reader:
        pending = None
        for number in numbers:
            following = reader.submit(source.shard, number)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()


def row_bytes(source: EmbeddingSource) -> int:
    """Returns the bytes that a row of a source takes in memory, its labels included."""
    return 4 * source.dim + len(source.class_names)


def held(source: EmbeddingSource, *, max_bytes: int = HELD_BYTES) -> EmbeddingSource:
    """Reads a source into memory if it fits.

    Args:
      source: clips.
      max_bytes: what it may take.

    Returns:
      The clips in memory, or the source as it is if it is larger.
    """
    if isinstance(source, Embeddings) or sum(source.shard_rows) * row_bytes(source) > max_bytes:
        return source
    return concatenate([source.shard(shard) for shard in range(len(source.shard_rows))])


def normalised(
    source: EmbeddingSource, *, mean: np.ndarray, deviation: np.ndarray
) -> EmbeddingSource:
    """Returns the source with `(embedding - mean) / deviation` for its embeddings.

    Args:
      source: clips.
      mean: [dim] float32.
      deviation: [dim] float32, not zero.
    """
    changed = _NormalisedSource(source, mean, deviation)
    return changed.shard(0) if isinstance(source, Embeddings) else changed


@dataclasses.dataclass(frozen=True)
class _Derived:
    """A source made of another one, shard by shard."""

    source: EmbeddingSource

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names

    @property
    def dim(self) -> int:
        return self.source.dim

    @property
    def shard_rows(self) -> tuple[int, ...]:
        return self.source.shard_rows

    def __len__(self) -> int:
        return len(self.source)


@dataclasses.dataclass(frozen=True)
class _NormalisedSource(_Derived):
    mean: np.ndarray
    deviation: np.ndarray

    def shard(self, shard: int) -> Embeddings:
        clips = self.source.shard(shard)
        embedding = clips.embedding.astype(np.float32)  # a copy: the clips may be somebody's own
        embedding -= self.mean
        embedding /= self.deviation
        return dataclasses.replace(clips, embedding=embedding)


@dataclasses.dataclass(frozen=True)
class ChangedSource(_Derived):
    """A source whose embeddings a function has made of those of another.

    Attributes:
      source: the other.
      change: [rows, its dim] float32 to [rows, new_dim] float32.
      new_dim: numbers in a row.
    """

    change: Callable[[np.ndarray], np.ndarray]
    new_dim: int

    @property
    def dim(self) -> int:
        return self.new_dim

    def shard(self, shard: int) -> Embeddings:
        clips = self.source.shard(shard)
        return dataclasses.replace(clips, embedding=self.change(clips.embedding))


@dataclasses.dataclass(frozen=True)
class SelectedClips(_Derived):
    """Some clips of a source.

    Attributes:
      source: where they are.
      positions: for each shard of the source the clips in it that count, ascending.
      rows: how many rows these have, by shard.
    """

    positions: Sequence[np.ndarray]
    rows: tuple[int, ...]

    @property
    def shard_rows(self) -> tuple[int, ...]:
        return self.rows

    def __len__(self) -> int:
        return sum(map(len, self.positions))

    def shard(self, shard: int) -> Embeddings:
        return self.source.shard(shard).select(self.positions[shard])


def row_statistics(source: EmbeddingSource) -> RowStatistics:
    """Computes mean, standard deviation and label counts of the rows, in one pass, in float64.

    The statistics of shards are merged pairwise (Chan, Golub and LeVeque, 1979), which stays
    accurate where the mean is far from zero.
    """
    rows, mean, variance = 0, np.zeros(source.dim), np.zeros(source.dim)
    label_rows = np.zeros(len(source.class_names), np.int64)
    for clips in shards_ahead(source):
        count = len(clips.embedding)
        if count == 0:
            continue
        shard_mean = _sum_of_rows(clips.embedding, lambda rows: rows) / count
        shard_variance = _sum_of_rows(clips.embedding, _squared_distance_from(shard_mean)) / count
        share = count / (rows + count)
        distance = shard_mean - mean
        variance = (
            (1 - share) * variance + share * shard_variance + share * (1 - share) * distance**2
        )
        mean = shard_mean if rows == 0 else mean + share * distance
        rows += count
        label_rows += _label_rows(clips)
    deviation = np.sqrt(variance)
    # A dimension that is constant up to rounding carries no information: leave it at about zero.
    deviation[deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1.0
    return RowStatistics(rows, mean.astype(np.float32), deviation.astype(np.float32), label_rows)


def _sum_of_rows(embedding: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Sums changed rows in float64, [dim], a few at a time that stay in the processor's cache."""
    # The sum so far is the row above those that are added to it: one order, however many at a time.
    buffer = np.zeros((1 + _ROWS_AT_ONCE, embedding.shape[1]))
    for start in range(0, len(embedding), _ROWS_AT_ONCE):
        rows = embedding[start : start + _ROWS_AT_ONCE]
        buffer[1 : 1 + len(rows)] = rows
        change(buffer[1 : 1 + len(rows)])
        buffer[0] = buffer[: 1 + len(rows)].sum(axis=0)
    return buffer[0].copy()


def _squared_distance_from(mean: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def change(rows: np.ndarray) -> np.ndarray:
        rows -= mean
        return np.multiply(rows, rows, out=rows)

    return change


def _label_rows(clips: Embeddings) -> np.ndarray:
    if clips.patches is None:
        return clips.labels.sum(axis=0, dtype=np.uint32).astype(np.int64)
    # As floating point numbers, exact here, for which there is a fast product.
    return (clips.patches.astype(np.float64) @ clips.labels.astype(np.float64)).astype(np.int64)


def nested_subsets(
    source: EmbeddingSource, *, clips_per_class: Sequence[int], seed: int
) -> dict[int, SelectedClips]:
    """Chooses few labelled clips, as a data set with less annotation would have.

    The clips are put in a random order. A subset takes the first k clips of each class, or all of
    a class that has fewer. A clip may be taken for one class and have others too, so a class can
    have more than k; and the subset for a smaller k lies within that for a larger one.

    Args:
      source: labelled clips; read once.
      clips_per_class: values of k.
      seed: decides the order, whatever the sizes of the shards.

    Returns:
      k -> the subset.
    """
    random = np.random.default_rng(seed)
    most = max(clips_per_class)
    # Columns: key of the random order, class, number of the clip, its rows.
    found = [np.zeros((4, 0))]
    shard_sizes: list[int] = []
    for clips in shards_ahead(source):
        keys, (clip, label) = random.random(len(clips)), np.nonzero(clips.labels)
        rows = np.ones(len(clips)) if clips.patches is None else clips.patches
        found.append(np.stack([keys[clip], label, sum(shard_sizes) + clip, rows[clip]]))
        shard_sizes.append(len(clips))
        if sum(part.shape[1] for part in found[1:]) > max(found[0].shape[1], _MOST_CANDIDATES):
            found = [_first_of_each_class(np.concatenate(found, axis=1), most)]
    candidates = np.concatenate(found, axis=1)
    return {
        count: _selected(source, _first_of_each_class(candidates, count), shard_sizes)
        for count in clips_per_class
    }


def _first_of_each_class(candidates: np.ndarray, count: int) -> np.ndarray:
    """Keeps the `count` columns of lowest key, row 0, of each class, row 1."""
    candidates = candidates[:, np.lexsort((candidates[0], candidates[1]))]
    begins = np.searchsorted(candidates[1], candidates[1], side="left")
    return candidates[:, np.arange(candidates.shape[1]) - begins < count]


def _selected(
    source: EmbeddingSource, candidates: np.ndarray, shard_sizes: Sequence[int]
) -> SelectedClips:
    numbers, where = np.unique(candidates[2].astype(np.int64), return_index=True)
    rows = candidates[3].astype(np.int64)[where]
    starts = np.cumsum([0, *shard_sizes])
    cuts = np.searchsorted(numbers, starts[1:-1])
    positions = [
        inside - start for inside, start in zip(np.split(numbers, cuts), starts[:-1], strict=True)
    ]
    shard_rows = tuple(int(part.sum()) for part in np.split(rows, cuts))
    return SelectedClips(source, positions, shard_rows)
