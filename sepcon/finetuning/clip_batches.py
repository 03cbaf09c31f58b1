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
    """Yields ids, and audio int16 [batch, samples], of some clips, each cut or zero-padded."""

    def fitted(element: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        beginning = tf.constant(0.0)
        return {"id": element["id"], "audio": fit_length(element["audio"], samples, beginning)}

    chosen = select(clips, positions, name=clips.name).build()
    for batch in map_in_order(chosen, fitted, num_parallel_calls=1).batch(_BATCH):
        yield [os.fsdecode(identifier) for identifier in batch["id"].numpy()], batch["audio"]
