"""Linear classifiers by least squares with a penalty: exact, and quick for many penalties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from sepcon.models.linear_classifier import LinearClassifier

# A feature that varies less than this is constant but for rounding.
_SMALLEST_DEVIATION = 1e-6


def fit_ridge(
    features: np.ndarray, labels: np.ndarray, *, penalties: Sequence[float]
) -> list[LinearClassifier]:
    """Fits a linear layer to labels by least squares, for each of several penalties.

    Each feature is brought to mean 0 and deviation 1 first; the layers that are returned do so
    themselves. A layer minimises the mean over the rows of the squared error, plus the penalty
    times the squared norm of the kernel on that scale.

    Args:
      features: float [n, size].
      labels: [n, classes], 0 or 1.
      penalties: each above 0.

    Raises:
      ValueError: a penalty is not above 0.
    """
    if min(penalties) <= 0:
        raise ValueError(f"penalties must be above 0, got {list(penalties)}")
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > _SMALLEST_DEVIATION * max(1.0, deviation.max()), deviation, np.inf)
    # Inner products are sums of numbers around 1, for which single precision is enough.
    rows = ((features - mean) / scale).astype(np.float32)
    targets = np.asarray(labels, np.float32)
    share = targets.mean(axis=0)
    count = len(rows)
    # Of few rows the matrix of their own inner products is the smaller one.
    dual = count < rows.shape[1]
    products = (rows @ rows.T if dual else rows.T @ rows).astype(np.float64)
    wanted = (targets - share if dual else rows.T @ (targets - share)).astype(np.float64)
    layers = []
    for penalty in penalties:
        system = products + count * penalty * np.eye(len(products))
        solved = linalg.solve(system, wanted, assume_a="pos", overwrite_a=True)
        kernel = (rows.T @ solved if dual else solved) / scale[:, np.newaxis]
        layers.append(
            LinearClassifier(kernel.astype(np.float32), (share - mean @ kernel).astype(np.float32))
        )
    return layers
