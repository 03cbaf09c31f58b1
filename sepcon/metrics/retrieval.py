"""Query-by-example retrieval: are clips of the same class closer to each other than other clips?

The protocol of Jansen et al., "Unsupervised learning of semantic audio representations" (2018): for
each class, all pairs of two clips with the class (relevant) and all pairs of one clip with and one
without it (not relevant) are ranked by cosine distance; average precision measures the ranking.
Nothing is trained, so that the embedding itself is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sepcon.metrics.classification import average_precision


@dataclass(frozen=True)
class RetrievalScores:
    """Average precision of query-by-example retrieval.

    Attributes:
      mean_average_precision: over the classes that can be measured.
      chance: the average of a random order of the pairs: near 1/3 for n clips with the class and n
        without it, which give n (n - 1) / 2 relevant pairs and n^2 others.
      class_average_precision: [classes]; NaN for a class with fewer than two clips, or with all.
      num_classes_used: classes in the mean.
    """

    mean_average_precision: float
    chance: float
    class_average_precision: np.ndarray
    num_classes_used: int


def query_by_example(
    *, embedding: np.ndarray, labels: np.ndarray, clips_per_class: int = 100, seed: int = 0
) -> RetrievalScores:
    """Measures how well cosine distance finds clips of the class of a given clip.

    For each class up to `clips_per_class` clips with the class are drawn, and as many without it.

    Args:
      embedding: [clips, dim] float, of whole clips. A clip of zeros is equally far from all.
      labels: [clips, classes], 0 or 1.
      clips_per_class: the published protocol takes about 100.
      seed: of the drawing.

    Returns:
      The average precision of each class and their mean.

    Raises:
      ValueError: shapes differ, or no class has two clips and one without it.
    """
    if embedding.ndim != 2 or labels.ndim != 2 or len(embedding) != len(labels):
        raise ValueError(
            "embedding must be [clips, dim] and labels [clips, classes], got "
            f"{embedding.shape} and {labels.shape}"
        )
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    unit = embedding / np.maximum(length, np.finfo(embedding.dtype).tiny)
    random = np.random.default_rng(seed)
    scores = np.full((2, labels.shape[1]), np.nan)  # average precision, chance
    for label, column in enumerate(labels.T.astype(bool)):
        present = random.permutation(np.flatnonzero(column))[:clips_per_class]
        absent = random.permutation(np.flatnonzero(~column))[: len(present)]
        if len(present) > 1 and len(absent):
            scores[:, label] = _score_pairs(unit[present], unit[absent])
    known = ~np.isnan(scores[0])
    if not known.any():
        raise ValueError("labels: no class has two clips that have it and one that has not")
    return RetrievalScores(
        mean_average_precision=float(scores[0, known].mean()),
        chance=float(scores[1, known].mean()),
        class_average_precision=scores[0],
        num_classes_used=int(known.sum()),
    )


def _score_pairs(present: np.ndarray, absent: np.ndarray) -> tuple[float, float]:
    """Average precision of the pairs within `present`, and the share that they are of all."""
    first, second = np.triu_indices(len(present), k=1)
    within = (present @ present.T)[first, second]
    across = (present @ absent.T).ravel()
    similarity = np.concatenate([within, across])
    targets = np.arange(len(similarity)) < len(within)
    precision = average_precision(targets=targets[:, np.newaxis], scores=similarity[:, np.newaxis])
    return float(precision[0]), len(within) / len(similarity)
