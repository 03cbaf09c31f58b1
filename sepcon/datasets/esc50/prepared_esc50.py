"""ESC-50 once it is prepared: the folder it lies in, and what its records hold.

`layout` knows the official folder that it is prepared from. Nothing else knows either of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from sepcon.data.prepared import parse
from sepcon.data.records import RecordFiles

NAME = "esc50"
VERSION = "2.0.0"
_FEATURES = {
    "audio": tf.int16,
    "esc10": tf.int64,
    "filename": tf.string,
    "fold": tf.int64,
    "label": tf.int64,
    "source_id": tf.string,
}


def prepared_folder(data_dir: str | Path) -> Path:
    """Returns the folder of the TFDS data set below the one that it is prepared in."""
    return Path(data_dir) / NAME / VERSION


def parse_clip(serialized: tf.Tensor, features: Sequence[str]) -> dict[str, tf.Tensor]:
    """Parses some features of a clip, in the graph.

    Args:
      serialized: string [], its record.
      features: their names.

    Returns:
      `audio` int16 [samples]; `filename` and `source_id` (the recording on Freesound) string [];
      `fold` (from 1), `label` (the class) and `esc10` (whether it belongs to ESC-10) int64 [].
    """
    return parse(serialized, {name: _FEATURES[name] for name in features})


def read_clips(files: RecordFiles, features: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields some features of every clip as numpy values, see `parse_clip`.

    Args:
      files: records of ESC-50.
      features: their names.
    """
    for position in range(len(files)):
        parsed = parse_clip(tf.constant(files.bytes_at(position)), features)
        yield {name: value.numpy() for name, value in parsed.items()}
