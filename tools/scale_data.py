"""Synthetic clip embeddings in the size and with the label frequencies of AudioSet.

Frequencies: of AudioSet's 2.08 million clips about half carry Music and about half Speech; the
commonest of the 525 other classes (Vehicle) has 6 %, the rarest some 120 clips; a clip has two
labels on average. Here the two have 0.47 and 0.46, the others 0.0615 ((1 + q) / (rank + q))^p with
q and p such that the last has 6e-5 and all together 2 labels a clip. Labels are independent; a clip
that gets none is given one, drawn by frequency. In the evaluation clips every class has at least
0.3 % (60 of 20,000), as AudioSet's evaluation segments were chosen to give each class about 60.

Embeddings: a direction of length 3 for each label, noise of deviation 1 in each dimension, and an
offset, so that there is something to learn, to normalise and to confuse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import optimize

from sepcon.embeddings.store import EmbeddingWriter, StoreLayout

NUM_CLASSES = 527
_COMMON = (0.47, 0.46)
_FIRST, _LAST, _LABELS_PER_CLIP = 0.0615, 6e-5, 2.0
_EVALUATION_SHARE = 0.003


def label_frequencies() -> np.ndarray:
    """Returns the share of clips with each class, [classes], the commonest first."""
    ranks = np.arange(1, NUM_CLASSES - len(_COMMON) + 1)

    def tail(offset: float) -> np.ndarray:
        power = np.log(_FIRST / _LAST) / np.log((ranks[-1] + offset) / (1 + offset))
        return _FIRST * ((1 + offset) / (ranks + offset)) ** power

    wanted = _LABELS_PER_CLIP - sum(_COMMON)
    offset = optimize.brentq(lambda q: tail(q).sum() - wanted, 0.0, 1000.0)
    return np.concatenate([_COMMON, tail(offset)])


def write_store(folder: Path, *, clips: int, dim: int, shard_size: int, evaluation: bool) -> None:
    """Writes embeddings as `sepcon embed` does.

    Args:
      folder: the store.
      clips: how many.
      dim: numbers of each.
      shard_size: clips in a file.
      evaluation: whether they are evaluation clips.
    """
    share = label_frequencies()
    if evaluation:
        share = np.maximum(share, _EVALUATION_SHARE)
    directions = np.random.default_rng(1).normal(size=(NUM_CLASSES, dim)).astype(np.float32)
    directions *= 3 / np.linalg.norm(directions, axis=1, keepdims=True)
    names = tuple(f"class {number}" for number in range(NUM_CLASSES))
    writer = EmbeddingWriter(folder, StoreLayout("synthetic", "none", names, clips, shard_size))
    for shard in writer.missing_shards():
        random = np.random.default_rng([int(evaluation), shard])
        count = writer.layout.clips_in(shard)
        labels = random.random((count, NUM_CLASSES), dtype=np.float32) < share
        without = np.flatnonzero(~labels.any(axis=1))
        labels[without, random.choice(NUM_CLASSES, len(without), p=share / share.sum())] = True
        embedding = random.standard_normal((count, dim), dtype=np.float32)
        embedding += labels.astype(np.float32) @ directions + 1
        first = shard * shard_size
        role = "e" if evaluation else "t"
        ids = np.array([f"{role}{first + number:010d}" for number in range(count)])
        writer.write_shard(shard, ids=ids, embedding=embedding, labels=labels)
    writer.finish()


def main() -> None:
    """Writes training and evaluation clips into two folders below `folder`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    for name in ("clips", "evaluation_clips", "dim", "shard_size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    shape = {"dim": options.dim, "shard_size": options.shard_size}
    evaluation_clips = options.evaluation_clips
    write_store(options.folder / "train", clips=options.clips, evaluation=False, **shape)
    write_store(options.folder / "test", clips=evaluation_clips, evaluation=True, **shape)


if __name__ == "__main__":
    main()
