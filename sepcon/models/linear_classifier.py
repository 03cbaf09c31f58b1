"""Logistic regression on embeddings, to the optimum: the linear layer that measures an encoder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

_MOST_ITERATIONS = 500
# A dimension that varies less than this is constant but for rounding.
_SMALLEST_DEVIATION = 1e-6


class LinearClassifier(NamedTuple):
    """A linear layer.

    Attributes: kernel, float32 [dim, classes]; bias, float32 [classes].
    """

    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, embedding: np.ndarray) -> np.ndarray:
        """[n, dim] to [n, classes] float32."""
        return embedding @ self.kernel + self.bias


def fit_linear_classifier(
    embedding: np.ndarray, labels: np.ndarray, *, penalty: float, exclusive: bool
) -> LinearClassifier:
    """Fits a linear layer by its mean cross-entropy plus a penalty, which has one optimum.

    Each dimension is brought to mean 0 and deviation 1 first; the layer that is returned does so
    itself. The penalty is penalty / 2 times the squared norm of the kernel on that scale.

    Args:
      embedding: float [n, dim].
      labels: float [n, classes], 0 or 1.
      penalty: above 0.
      exclusive: whether each row has one class (softmax), or any number (a sigmoid for each).

    Raises:
      ValueError: the penalty is not above 0.
    """
    if not penalty > 0:
        raise ValueError(f"penalty must be above 0, got {penalty}")
    features = np.asarray(embedding, np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > _SMALLEST_DEVIATION * max(1.0, deviation.max()), deviation, np.inf)
    features = (features - mean) / scale
    targets = np.asarray(labels, np.float64)
    shape = (features.shape[1] + 1, targets.shape[1])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = weights.reshape(shape)[:-1], weights.reshape(shape)[-1]
        value, slope = _cross_entropy(features @ kernel + bias, targets, exclusive)
        gradient = np.empty(shape)
        gradient[:-1] = features.T @ slope + penalty * kernel
        gradient[-1] = slope.sum(axis=0)
        return value + penalty / 2 * float((kernel**2).sum()), gradient.ravel()

    found = optimize.minimize(
        loss,
        np.zeros(shape[0] * shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_ITERATIONS},
    )
    weights = found.x.reshape(shape)
    kernel = weights[:-1] / scale[:, np.newaxis]
    bias = weights[-1] - mean @ kernel
    return LinearClassifier(kernel.astype(np.float32), bias.astype(np.float32))


def _cross_entropy(
    logits: np.ndarray, targets: np.ndarray, exclusive: bool
) -> tuple[float, np.ndarray]:
    """Mean over the rows, and its gradient [n, classes] by the logits."""
    rows = len(logits)
    if exclusive:
        value = (special.logsumexp(logits, axis=1) - (logits * targets).sum(axis=1)).mean()
        return float(value), (special.softmax(logits, axis=1) - targets) / rows
    value = (np.logaddexp(0.0, logits) - logits * targets).sum() / rows
    return float(value), (special.expit(logits) - targets) / rows
