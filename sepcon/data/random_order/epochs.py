"""The endless row of epochs: which example stands where, and its random numbers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib

import numpy as np

from sepcon.data.random_order.stateless import fold_in, fold_in_each, integers, uniforms

_ORDER, _UNIFORMS = 1, 2


@dataclasses.dataclass(frozen=True)
class EndlessRow:
    """Examples of one epoch after the other, each epoch in an order of its own.

    Everything is a pure function of what is given here and of the place asked for.

    Attributes:
      num_examples: examples of an epoch.
      seed: of the orders and of the random numbers.
      run: examples are shuffled within runs of this many, and the runs among each other; None
        shuffles each epoch as a whole.
    """

    num_examples: int
    seed: int
    run: int | None = None

    def examples(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the epoch and the number of the example in each of some places.

        Args:
          start: the first place.
          stop: the one after the last.

        Returns:
          int64 [stop - start] each.
        """
        epochs, places = np.divmod(np.arange(start, stop, dtype=np.int64), self.num_examples)
        positions = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            positions[here] = self._order(int(epoch))[places[here]]
        return epochs, positions

    def uniforms(self, epochs: np.ndarray, positions: np.ndarray, count: int) -> np.ndarray:
        """Computes the random numbers of examples.

        Args:
          epochs: [n] the epoch of each example.
          positions: [n] the number of each example.
          count: random numbers of each.

        Returns:
          [n, count] float32 in [0, 1).
        """
        drawn = np.empty((len(positions), count), np.float32)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            seed = fold_in(self._epoch_seed(int(epoch)), _UNIFORMS)
            drawn[here] = uniforms(fold_in_each(seed, positions[here]), count)
        return drawn

    @functools.cached_property
    def _order(self) -> functools._lru_cache_wrapper[np.ndarray]:
        """The order of an epoch, int64 [num_examples]; a batch sees two epochs at most."""
        return functools.lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        """A permutation, by sorting counter-based random keys."""
        seed = fold_in(self._epoch_seed(epoch), _ORDER)
        order = np.argsort(integers(seed, self.num_examples), kind="stable")
        if self.run is not None and self.run < self.num_examples:
            num_runs = -(-self.num_examples // self.run)
            of_runs = np.argsort(integers(fold_in(seed, 1), num_runs), kind="stable")
            rank = np.argsort(of_runs, kind="stable")
            # A stable sort by run keeps the random order within each.
            order = order[np.argsort(rank[order // self.run], kind="stable")]
        return order

    def _epoch_seed(self, epoch: int) -> tuple[int, int]:
        return _mixed(self.seed), epoch


def _mixed(seed: int) -> int:
    """A 63-bit number from any integer seed: neighbours have nothing in common."""
    digest = hashlib.sha256(str(int(seed)).encode()).digest()
    return int(np.frombuffer(digest[:8], np.uint64)[0] >> np.uint64(1))
