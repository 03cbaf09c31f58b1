"""Embeds the splits of a data set, and checks that no training clip is in the test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sepcon.data.clips import ClipDataset
from sepcon.embeddings.embedder import ClipEmbedder
from sepcon.embeddings.measure import MORE_TEST_CLIPS
from sepcon.embeddings.sources import EmbeddingSource, held, shards_ahead
from sepcon.embeddings.write import write_embeddings
from sepcon.errors import SepconError


def check_splits(splits: Mapping[str, ClipDataset]) -> None:
    """Checks that all splits are labelled, with the same classes.

    Args:
      splits: role ('train' and others) -> clips.

    Raises:
      SepconError: a split has no labels or other classes than 'train', or the test has one clip,
        of which nothing can be measured.
    """
    if splits["test"].num_clips < 2:
        raise SepconError(
            f"the test part ({splits['test'].name}) holds {splits['test'].num_clips} clip, a score "
            f"needs clips with a class and clips without it; {MORE_TEST_CLIPS}"
        )
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
    embedder: ClipEmbedder,
    splits: Mapping[str, ClipDataset],
    *,
    title: str,
    prefix: str = "",
    batch_size: int = 32,
    shard_size: int = 1024,
    patches: bool = False,
) -> dict[str, EmbeddingSource]:
    """Embeds each split, unless `folder` has its embeddings already.

    Args:
      folder: keeps the embeddings; rows of the same model share them, and a model that has changed
        is embedded anew.
      embedder: the model.
      splits: 'train', 'validation' and 'test'.
      title: what the progress bar says before the role.
      prefix: put before the role, where the embeddings of several data sets are kept.
      batch_size: clips embedded at a time.
      shard_size: clips per file.
      patches: whether the embeddings of all patches are kept, in place of their mean.

    Returns:
      Role -> embeddings, in memory where they fit.

    Raises:
      SepconError: a clip is in train and in another split too.
    """
    place = hashlib.sha256(embedder.fingerprint.encode()).hexdigest()[:16]
    place += "_patches" if patches else ""
    embedded = {
        role: held(
            write_embeddings(
                folder=folder / "embeddings" / place / f"{prefix}{role}",
                embedder=embedder,
                clips=clips,
                batch_size=batch_size,
                shard_size=shard_size,
                patches=patches,
                description=f"{title}: {prefix}{role}",
            )
        )
        for role, clips in splits.items()
    }
    _check_disjoint(embedded)
    return embedded


def _check_disjoint(embedded: Mapping[str, EmbeddingSource]) -> None:
    others = {
        role: np.concatenate([clips.ids for clips in shards_ahead(embedded[role])])
        for role in ("validation", "test")
    }
    shared: dict[str, list[str]] = {role: [] for role in others}
    for clips in shards_ahead(embedded["train"]):
        for role, ids in others.items():
            shared[role] += np.intersect1d(clips.ids, ids).tolist()
    for role, common in shared.items():
        if common:
            raise SepconError(
                f"{len(common)} clips are in both train and {role} ({common[0]!r}, ...): "
                "the result would be worthless; use disjoint splits"
            )
