"""Optimizers by plain functions, so that a configuration can name them.

None of them clips: the loop does that, on the gradient of the global batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sepcon.training.flat_vectors import FlatVectors
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
    """Adam (Kingma & Ba, 2015).

    Args:
      learning_rate: rate or schedule.
      beta_1: decay of the running mean of gradients, 0 to 1.
      beta_2: decay of the running mean of squared gradients, 0 to 1.
      epsilon: added to the root of the latter.

    Returns:
      A new optimizer, without gradient clipping.
    """
    return Adam(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


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
      weight_decay: share by which a weight shrinks per step, to be multiplied by the rate.
      beta_1: decay of the running mean of gradients, 0 to 1.
      beta_2: decay of the running mean of squared gradients, 0 to 1.
      epsilon: added to the root of the latter.
      not_decayed: weights whose name contains one of these are not shrunk.

    Returns:
      A new optimizer, without gradient clipping.
    """
    optimizer = AdamW(
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
    """Stochastic gradient descent with momentum.

    Args:
      learning_rate: rate or schedule.
      momentum: share of the last update that the next one keeps, 0 to 1.
      nesterov: whether the momentum is Nesterov's.

    Returns:
      A new optimizer, without gradient clipping.
    """
    return SGD(learning_rate=learning_rate, momentum=momentum, nesterov=nesterov)


class FlatOptimizer:
    """A Keras optimizer that updates all weights by a few operations on long vectors.

    Keras makes some 20 operations for each weight, which for a separator of 391 weights are nine
    tenths of those that a step launches on an accelerator. The numbers are Keras' to the bit.
    """

    def flat_vectors(self: Any, variables: Sequence[Any]) -> FlatVectors:
        """How gradients of these variables are laid out for `apply_vectors`."""
        decayed = [bool(self.weight_decay) and self._use_weight_decay(v) for v in variables]
        kinds = [(tf.as_dtype(v.dtype), d) for v, d in zip(variables, decayed, strict=True)]
        return FlatVectors(variables, kinds)

    def apply_vectors(
        self: Any, vectors: Sequence[tf.Tensor], flat: FlatVectors, variables: Sequence[Any]
    ) -> None:
        """Updates variables by gradients that are summed over the replicas already.

        Args:
          vectors: gradients, [length] each, as `flat` packs them; the same on every replica.
          flat: what `flat_vectors` gave for these variables.
          variables: of those that the optimizer was built with.
        """
        slots = [[slot[self._get_variable_index(v)] for v in variables] for slot in self._slots()]
        weights, *slots = ([getattr(v, "value", v) for v in row] for row in (variables, *slots))
        rate = tf.cast(tf.convert_to_tensor(self.learning_rate), tf.float32)
        decayed = [bool(self.weight_decay) and self._use_weight_decay(v) for v in variables]

        def on_device(_: Any, vectors: Any, rates: Any, weights: Any, slots: Any) -> None:
            rate, step_size = rates
            packed = [flat.pack(row) for row in (weights, *slots)]
            updated = []
            for group, gradient, weight, *slot in zip(flat.groups, vectors, *packed, strict=True):
                if decayed[group[0]]:
                    weight -= weight * self.weight_decay * rate
                updated.append(self._flat_step(step_size, gradient, weight, *slot))
            for row, new in zip((weights, *slots), zip(*updated, strict=True), strict=True):
                for variable, value in zip(row, flat.unpack(new), strict=True):
                    variable.assign(value)

        def on_all_devices(strategy: Any, vectors: Any, rates: Any) -> None:
            arguments = (vectors, rates, tuple(weights), tuple(map(tuple, slots)))
            strategy.extended.update(weights[0], on_device, args=arguments, group=False)

        tf.__internal__.distribute.interim.maybe_merge_call(
            on_all_devices,
            tf.distribute.get_strategy(),
            tuple(vectors),
            (rate, self._step_size(rate)),
        )
        self._iterations.assign_add(1)

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> None:
        """As that of Keras: sums over the replicas, then updates."""
        variables = list(
            self._trainable_variables if trainable_variables is None else trainable_variables
        )
        if not self.built:
            self.build(variables)
        self._check_variables_are_known(variables)
        flat = self.flat_vectors(variables)
        vectors = flat.pack(list(grads))
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            vectors = context.all_reduce(tf.distribute.ReduceOp.SUM, vectors)
        self.apply_vectors(vectors, flat, variables)

    def _slots(self: Any) -> Sequence[Sequence[Any]]:
        """The optimizer's variables beside the weights, a list with one for each weight each."""
        raise NotImplementedError

    def _step_size(self: Any, rate: tf.Tensor) -> tf.Tensor:
        """What all weights of a step have in common, []."""
        return rate

    def _flat_step(
        self: Any, size: tf.Tensor, gradient: tf.Tensor, weight: tf.Tensor, *slots: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """New weight and slots, [numbers] each as the old ones."""
        raise NotImplementedError


class _FlatAdam(FlatOptimizer):
    def _slots(self: Any) -> Sequence[Sequence[Any]]:
        return self._momentums, self._velocities

    def _step_size(self: Any, rate: tf.Tensor) -> tf.Tensor:
        step = tf.cast(self.iterations.value + 1, tf.float32)
        beta_1_power = tf.pow(tf.constant(self.beta_1, tf.float32), step)
        beta_2_power = tf.pow(tf.constant(self.beta_2, tf.float32), step)
        return rate * tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)

    def _flat_step(
        self: Any, size: tf.Tensor, gradient: tf.Tensor, weight: tf.Tensor, *slots: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        mean, square = slots
        mean += (gradient - mean) * (1 - self.beta_1)
        square += (tf.square(gradient) - square) * (1 - self.beta_2)
        return weight - mean * size / (tf.sqrt(square) + self.epsilon), mean, square


class Adam(_FlatAdam, keras.optimizers.Adam):
    """Adam of Keras, under its name: variables in checkpoints are called after it."""


class AdamW(_FlatAdam, keras.optimizers.AdamW):
    """AdamW of Keras, under its name."""


class SGD(FlatOptimizer, keras.optimizers.SGD):
    """SGD of Keras, under its name."""

    def _slots(self: Any) -> Sequence[Sequence[Any]]:
        return (self.momentums,) if self.momentum else ()

    def _flat_step(
        self: Any, size: tf.Tensor, gradient: tf.Tensor, weight: tf.Tensor, *slots: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        if not slots:
            return (weight - gradient * size,)
        momentum = slots[0] * self.momentum - gradient * size
        if self.nesterov:
            return weight + (momentum * self.momentum - gradient * size), momentum
        return weight + momentum, momentum


def lars(
    *,
    learning_rate: float | Schedule,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    trust: float = 1e-3,
    excluded: Sequence[str] = _NOT_DECAYED,
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

    Returns:
      A new optimizer, without gradient clipping.
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
        """Moves one weight.

        Args:
          gradient: of the shape of the weight.
          variable: the weight, of any shape.
          learning_rate: [] float.
        """
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
