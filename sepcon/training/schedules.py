"""Learning rates as functions of the step, to be given to an optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate computed from the number of steps done.

    Args:
      function: steps done, [] float32 -> learning rate, [] float32.
      config: what describes the schedule.
    """

    def __init__(self, function: Callable[[tf.Tensor], tf.Tensor], config: dict[str, Any]) -> None:
        self._function = function
        self._config = config

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the learning rate after `step` steps, float32 []."""
        return self._function(tf.cast(step, tf.float32))

    def get_config(self) -> dict[str, Any]:
        """Returns what describes the schedule, as Keras wants it."""
        return dict(self._config)


def constant(*, rate: float, warmup_steps: int = 0) -> Schedule:
    """A constant learning rate after a linear warm-up.

    Args:
      rate: the learning rate, above 0.
      warmup_steps: the first of them has rate / warmup_steps, the last of them rate.

    Raises:
      ValueError: a value is out of range.
    """
    _check_warmup(warmup_steps)
    config = {"rate": _positive("rate", rate), "warmup_steps": warmup_steps}
    return Schedule(lambda step: rate * _warmup(step, warmup_steps), config)


def cosine(*, peak: float, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """Linear warm-up to `peak`, then half a cosine down to `final` (Loshchilov & Hutter, 2017).

    Args:
      peak: the learning rate after the warm-up.
      total_steps: the step from which on it is `final`.
      warmup_steps: the first of them has peak / warmup_steps, the last of them peak.
      final: the learning rate in the end, from 0 to `peak`.

    Raises:
      ValueError: a value is out of range.
    """
    _check_warmup(warmup_steps)
    if not warmup_steps < total_steps:
        raise ValueError(f"total_steps must exceed warmup_steps={warmup_steps}, got {total_steps}")
    if not 0 <= final <= _positive("peak", peak):
        raise ValueError(f"final must lie in 0 ... peak={peak}, got {final}")

    def rate(step: tf.Tensor) -> tf.Tensor:
        done = (step - warmup_steps) / (total_steps - warmup_steps)
        half_wave = 0.5 + 0.5 * tf.cos(math.pi * tf.clip_by_value(done, 0.0, 1.0))
        return _warmup(step, warmup_steps) * (final + (peak - final) * half_wave)

    names = {"peak": peak, "total_steps": total_steps, "warmup_steps": warmup_steps}
    return Schedule(rate, names | {"final": final})


def step_decay(
    *, initial: float, boundaries: Sequence[int], factor: float = 0.1, warmup_steps: int = 0
) -> Schedule:
    """Linear warm-up to `initial`, multiplied by `factor` at every boundary.

    Args:
      initial: the learning rate after the warm-up.
      boundaries: numbers of steps done at which it is multiplied, ascending.
      factor: above 0; below 1 the rate falls.
      warmup_steps: the first of them has initial / warmup_steps.

    Raises:
      ValueError: a value is out of range, or the boundaries do not ascend.
    """
    _check_warmup(warmup_steps)
    if list(boundaries) != sorted(set(boundaries)):
        raise ValueError(f"boundaries must ascend, got {list(boundaries)}")
    _positive("initial", initial)
    _positive("factor", factor)
    edges = [float(boundary) for boundary in boundaries]

    def rate(step: tf.Tensor) -> tf.Tensor:
        passed = tf.add_n([tf.constant(0.0), *(tf.cast(step >= e, tf.float32) for e in edges)])
        return initial * _warmup(step, warmup_steps) * tf.pow(factor, passed)

    config = {"initial": initial, "boundaries": list(boundaries), "factor": factor}
    return Schedule(rate, config | {"warmup_steps": warmup_steps})


def by_epoch(
    *,
    peak: float,
    steps_per_epoch: int,
    warmup_epochs: int = 10,
    first_share: float = 0.19,
    decay: float = 0.98,
) -> Schedule:
    """A learning rate that changes from epoch to epoch, as in SoundCLR (Nasiri and Hu, 2021).

    It rises linearly from first_share * peak in the first epoch to peak in the last of the warm-up;
    in epoch e, counted from 0, after that it is peak * decay^(e - warmup_epochs).

    Args:
      peak: the highest learning rate.
      steps_per_epoch: steps of one epoch, at least 1.
      warmup_epochs: epochs of the warm-up; 0 and 1 both mean none.
      first_share: the rate of the first epoch as a share of the peak, 0 to 1.
      decay: factor from one epoch to the next, above 0.

    Raises:
      ValueError: a value is out of range.
    """
    _check_warmup(warmup_epochs)
    for name, value in (("peak", peak), ("first_share", first_share), ("decay", decay)):
        _positive(name, value)
    _positive("steps_per_epoch", steps_per_epoch)

    def rate(step: tf.Tensor) -> tf.Tensor:
        epoch = tf.floor(step / steps_per_epoch)
        rise = tf.minimum(epoch / max(1, warmup_epochs - 1), 1.0)
        rising = first_share + (1.0 - first_share) * rise
        falling = tf.pow(decay, epoch - warmup_epochs)
        return peak * tf.where(epoch < warmup_epochs, rising, falling)

    names = {"peak": peak, "steps_per_epoch": steps_per_epoch, "warmup_epochs": warmup_epochs}
    return Schedule(rate, names | {"first_share": first_share, "decay": decay})


def _warmup(step: tf.Tensor, warmup_steps: int) -> tf.Tensor:
    """Rises to 1 in equal parts; not from 0, for a step at rate 0 is a step wasted."""
    return tf.minimum(1.0, (step + 1.0) / max(1, warmup_steps))


def _check_warmup(warmup_steps: int) -> None:
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps must not be negative, got {warmup_steps}")


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return value
