"""Whole clips in order, in batches of one length."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from sepcon.data.clips import ClipDataset, fit_length, select
from sepcon.data.examples import map_in_order

_BATCH = 32


def clip_batches(
    clips: ClipDataset, positions: np.ndarray, samples: int
) -> Iterator[tuple[list[str], tf.Tensor]]:
    """Reads some clips, in their order.

    Args:
      clips: all of them.
      positions: integer [n], which are read.
      samples: length that each is cut or zero-padded to.

    Yields:
      The ids of a batch, and its audio, int16 [batch, samples].
    """

    def fitted(element: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        beginning = tf.constant(0.0)
        return {"id": element["id"], "audio": fit_length(element["audio"], samples, beginning)}

    chosen = select(clips, positions, name=clips.name).build()
    for batch in map_in_order(chosen, fitted, num_parallel_calls=1).batch(_BATCH):
        yield [os.fsdecode(identifier) for identifier in batch["id"].numpy()], batch["audio"]
