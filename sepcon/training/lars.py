"""LARS (You et al., 2017), by which SimCLR trains with large batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sepcon.training.schedules import Schedule

# Biases and the scale and offset of normalisation are neither shrunk nor adapted.
_EXCLUDED = ("bias", "beta", "gamma")


def lars(
    *,
    learning_rate: float | Schedule,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    trust: float = 1e-3,
    excluded: Sequence[str] = _EXCLUDED,
) -> keras.optimizers.Optimizer:
    """Momentum with a rate of its own for each weight matrix, as the code of SimCLR has it.

    gradient = g + weight_decay w; v = momentum v + rate trust |w| / |gradient| gradient; w = w - v.

    Args:
      learning_rate: rate or schedule. SimCLR has 0.3 times batch size / 256, after 10 epochs of
        warm-up, with half a cosine; 1.0 on CIFAR-10 with 512 images a batch.
      momentum: forgetting of v.
      weight_decay: share of a weight that is added to its gradient.
      trust: see above.
      excluded: weights whose name contains one of these get neither the decay nor the factor.
    """
    return Lars(
        learning_rate=learning_rate,
        momentum=momentum,
        decay=weight_decay,
        trust=trust,
        excluded=excluded,
    )


class Lars(keras.optimizers.Optimizer):
    """See `lars`; `decay` is its weight_decay, a name that Keras uses for another thing."""

    def __init__(
        self,
        *,
        learning_rate: float | Schedule,
        momentum: float,
        decay: float,
        trust: float,
        excluded: Sequence[str],
        name: str = "lars",
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.momentum, self.decay, self.trust = momentum, decay, trust
        self.excluded = tuple(excluded)

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the momentum of each weight."""
        if self.built:
            return
        super().build(variables)
        self.momentums = [
            self.add_variable_from_reference(variable, name="momentum") for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one weight."""
        velocity = self.momentums[self._get_variable_index(variable)]
        rate = tf.cast(learning_rate, variable.dtype)
        gradient = tf.cast(gradient, variable.dtype)
        if not any(part in variable.name for part in self.excluded):
            weight = tf.convert_to_tensor(variable)
            gradient += self.decay * weight
            size, slope = tf.norm(weight), tf.norm(gradient)
            usable = (size > 0) & (slope > 0)
            # Divided by one where it does not count: no gradient of nothing may make a NaN.
            rate *= tf.where(usable, self.trust * size / tf.where(usable, slope, 1.0), 1.0)
        moved = self.momentum * tf.convert_to_tensor(velocity) + rate * gradient
        self.assign(velocity, moved)
        self.assign_sub(variable, moved)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "momentum": self.momentum,
            "decay": self.decay,
            "trust": self.trust,
            "excluded": self.excluded,
        }
