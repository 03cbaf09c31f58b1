"""Optimizers by plain functions, so that a configuration can name them.

None of them clips: the loop does that, on the gradient of the global batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from sepcon.training.schedules import Schedule

# Biases and the scale and offset of normalisation are not shrunk.
_NOT_DECAYED = ("bias", "beta", "gamma")


def adam(
    *,
    learning_rate: float | Schedule,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> keras.optimizers.Optimizer:
    """Adam (Kingma & Ba, 2015)."""
    return keras.optimizers.Adam(
        learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon
    )


def adamw(
    *,
    learning_rate: float | Schedule,
    weight_decay: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    not_decayed: Sequence[str] = _NOT_DECAYED,
) -> keras.optimizers.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019).

    Args:
      learning_rate: rate or schedule; the decay is multiplied by it.
      weight_decay: share of a weight taken away per step, before that multiplication.
      beta_1: forgetting of the mean gradient.
      beta_2: forgetting of the mean squared gradient.
      epsilon: added to the root of the latter.
      not_decayed: weights whose name contains one of these are left alone.
    """
    optimizer = keras.optimizers.AdamW(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
    )
    optimizer.exclude_from_weight_decay(var_names=list(not_decayed))
    return optimizer


def sgd(
    *, learning_rate: float | Schedule, momentum: float = 0.9, nesterov: bool = False
) -> keras.optimizers.Optimizer:
    """Stochastic gradient descent with momentum."""
    return keras.optimizers.SGD(learning_rate=learning_rate, momentum=momentum, nesterov=nesterov)
