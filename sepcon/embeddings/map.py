"""A map of embeddings: t-SNE to the plane, and the picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sepcon.embeddings.store import Embeddings
from sepcon.reports.page import Figure, library, scatter_figure

_MAX_POINTS = 1000
_MIN_POINTS = 12
_MAX_COLOURS = 10
_MAX_COMPONENTS = 50
_PERPLEXITY = 30.0


class Points(NamedTuple):
    """What is drawn. Attributes: embedding [points, dim]; label [points], a class each."""

    embedding: np.ndarray
    label: np.ndarray


def single_class_points(embeddings: Embeddings) -> Points | None:
    """Returns the clips of one class only, at most a thousand; None for less than a dozen."""
    single = np.flatnonzero(embeddings.labels.sum(axis=1) == 1)
    if len(single) < _MIN_POINTS:
        return None
    # Evenly over the data set: in many of them classes come one after the other.
    chosen = single[np.linspace(0, len(single) - 1, min(len(single), _MAX_POINTS)).astype(int)]
    return Points(embeddings.embedding[chosen], embeddings.labels[chosen].argmax(axis=1))


def t_sne(embedding: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Carries embeddings to the plane so that neighbours stay neighbours (van der Maaten, 2008).

    Each dimension is brought to unit variance; of many dimensions only the 50 principal components
    are taken. Perplexity 30, less for few points. Distances between far points mean nothing.

    Args:
      embedding: [points, dim] float, at least a dozen points.
      seed: of the search.

    Returns:
      [points, 2] float32.

    Raises:
      SepconError: scikit-learn, of the extra `report`, is not installed.
    """
    centred = embedding - embedding.mean(axis=0, dtype=np.float64)
    deviation = centred.std(axis=0)
    scaled = centred / np.where(deviation > 1e-6 * deviation.max(initial=1e-12), deviation, np.inf)
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    components = (left * values)[:, :_MAX_COMPONENTS]
    search = library("sklearn.manifold").TSNE(
        perplexity=min(_PERPLEXITY, (len(components) - 1) / 3),
        init="pca",
        learning_rate="auto",
        random_state=seed,
    )
    # A thousand short steps: on a busy machine threads wait for each other longer than they work.
    with library("threadpoolctl").threadpool_limits(1):
        return search.fit_transform(components.astype(np.float32))


def map_figure(
    caption: str, panels: Sequence[tuple[str, Points]], class_names: Sequence[str]
) -> Figure:
    """Draws maps side by side, of the same clips in different embeddings.

    The ten most frequent classes have colours; all others are grey.

    Args:
      caption: of the figure.
      panels: title and points of each map; all have the same clips in the same order.
      class_names: of the labels of the points.
    """
    labels = panels[0][1].label
    classes, counts = np.unique(labels, return_counts=True)
    coloured = classes[np.argsort(-counts, kind="stable")][:_MAX_COLOURS]
    return scatter_figure(
        caption,
        [(title, t_sne(points.embedding), points.label) for title, points in panels],
        {int(label): class_names[label] for label in coloured},
    )
