"""From a source of clips to the examples of a TFDS data set, by the conversion of every import."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.data.prepared import ordered_key
from sepcon.errors import SepconError
from sepcon.importing.clip_source import ClipReference, ClipSource
from sepcon.importing.import_shard import convert_shard
from sepcon.importing.manifest import Counts

Example = tuple[int, dict[str, Any]]


@dataclasses.dataclass
class SourceReport:
    """Counts what became of the clips of all splits of a data set.

    Attributes:
      name: of the data set.
      max_skipped_share: it stops when more than this share of the recordings that are there cannot
        be used.
      counts: of the clips so far.
    """

    name: str
    max_skipped_share: float
    counts: Counts = dataclasses.field(default_factory=Counts)

    def summary(self) -> str:
        """One line: how many clips there are, and how many were left out for which reason."""
        left_out = self.counts.left_out()
        reasons = "".join(f", {number} left out: {reason}" for reason, number in left_out.items())
        return f"{self.counts.kept} of {self.counts.clips} clips{reasons}"

    def finish(self) -> str:
        """Tells what became of the clips and returns it.

        Raises:
          SepconError: too many of the recordings cannot be used, or nothing is left.
        """
        usable, faults = self.counts.kept, self.counts.faults
        if not usable or faults > self.max_skipped_share * (usable + faults):
            raise SepconError(
                f"{self.name}: {self.summary()}; expected at least one clip, and at most a share "
                f"of {self.max_skipped_share:g} (max_skipped_share) unusable; mend the recordings"
            )
        print(f"{self.name}: {self.summary()}", file=sys.stderr)
        return self.summary()


def source_examples(
    source: ClipSource, references: Sequence[ClipReference], report: SourceReport
) -> Iterator[Example]:
    """Yields the clips that can be used, in their order, and counts all.

    Args:
      source: where they are.
      references: those of a split.
      report: what counts.

    Yields:
      A key, and 'id', 'audio' int16 [samples] at 16 kHz, 'labels' (class numbers), 'group' (the
      recording it was cut from) and 'fold'.
    """
    converted = convert_shard(source.read, references)
    for number, (row, record, _) in enumerate(converted):
        report.counts.add(row)
        if record is not None:
            yield ordered_key(number, len(references)), _features(record)


def _features(record: bytes) -> dict[str, Any]:
    feature = tf.train.Example.FromString(record).features.feature
    texts = {
        name: os.fsdecode(feature[name].bytes_list.value[0]) for name in ("id", "group", "fold")
    }
    return {
        **texts,
        "audio": np.frombuffer(feature["audio"].bytes_list.value[0], "<i2"),
        "labels": list(feature["labels"].int64_list.value),
    }
