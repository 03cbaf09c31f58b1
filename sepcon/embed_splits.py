"""Embeds the splits of a data set, and sees to it that what is learned from is not measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sepcon.data.clips import ClipDataset
from sepcon.data.embeddings import Embeddings
from sepcon.embed import write_embeddings
from sepcon.errors import SepconError
from sepcon.models.embedders import Embedder


def check_splits(splits: Mapping[str, ClipDataset]) -> None:
    """Raises a SepconError unless all splits are labelled with the same classes.

    Args:
      splits: 'train' and others, by role.
    """
    names = splits["train"].class_names
    if not names:
        raise SepconError(f"{splits['train'].name} has no labels; the benchmark needs some")
    for role, clips in splits.items():
        if clips.class_names != names:
            different = sorted(set(names) ^ set(clips.class_names))
            what = f"{different[:3]} are in one only" if different else "their order differs"
            raise SepconError(
                f"{role} clips ({clips.name}) and train clips ({splits['train'].name}) differ in "
                f"their classes: {what}; use splits of one dataset"
            )


def embed_splits(
    folder: Path,
    embedder: Embedder,
    splits: Mapping[str, ClipDataset],
    *,
    title: str,
    prefix: str = "",
    batch_size: int = 32,
    shard_size: int = 1024,
) -> dict[str, Embeddings]:
    """Returns the embeddings of each split, which are kept below `folder`.

    Args:
      folder: rows of one model share its embeddings in it, and a changed model gets new ones.
      embedder: the model.
      splits: 'train', 'validation' and 'test'.
      title: what the progress bar says before the role.
      prefix: put before the role, where the embeddings of several data sets are kept.
      batch_size: clips embedded at a time.
      shard_size: clips per file.

    Raises:
      SepconError: a clip is in train and in another split too.
    """
    place = hashlib.sha256(embedder.fingerprint.encode()).hexdigest()[:16]
    embedded = {
        role: write_embeddings(
            folder=folder / "embeddings" / place / f"{prefix}{role}",
            embedder=embedder,
            clips=clips,
            batch_size=batch_size,
            shard_size=shard_size,
            description=f"{title}: {prefix}{role}",
        ).load()
        for role, clips in splits.items()
    }
    for role in ("validation", "test"):
        shared = np.intersect1d(embedded["train"].ids, embedded[role].ids)
        if len(shared):
            raise SepconError(
                f"{len(shared)} clips are in both train and {role} ({shared[0]!r}, ...): "
                "the result would be worthless; use disjoint splits"
            )
    return embedded
