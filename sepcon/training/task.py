"""What the training loop expects of a task and of its data: the protocols `Task` and `Stream`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import tensorflow as tf


@dataclass(frozen=True)
class Summaries:
    """Examples for TensorBoard.

    Attributes:
      audio: name -> (waveforms [n, samples] float32, sample rate in Hz).
      images: name -> [n, height, width, 1] float32 in [0, 1].
    """

    audio: Mapping[str, tuple[tf.Tensor, int]] = field(default_factory=dict)
    images: Mapping[str, tf.Tensor] = field(default_factory=dict)


class Task(Protocol):
    """What is trained, and on which loss.

    Attributes:
      num_uniforms: width of `batch['uniforms']`, the only randomness a step may consume.
    """

    num_uniforms: int

    @property
    def model(self) -> Any:
        """All weights that are trained and saved, built inside the strategy's scope.

        `variables` and `trainable_variables` of this object must be complete, and their order must
        depend on the configuration alone. That holds for a Keras model or layer; a `tf.Module`
        does not find the weights of the Keras layers that it holds.
        """

    @property
    def product(self) -> Any:
        """The part of `model` that the run is for, whose weights are kept under states/."""

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        """The scalars of one step; runs in replica context on this replica's rows.

        Args:
          batch: the replica's rows of a batch of the stream.
          training: whether batch statistics are used and moving ones updated.

        Returns:
          'loss', which is minimised, and whatever else shall be logged: [] float32 each. Every
          value is this replica's share: the sum over replicas is the value on the global batch.
        """

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """Examples of a global batch [rows, ...] to look at and listen to; runs eagerly, rarely."""


class Stream(Protocol):
    """Endless batches that are a pure function of the step."""

    @property
    def identity(self) -> str:
        """Tells what is trained on from other examples: a run goes on with the same alone."""

    def batches(self, start_step: int, rows: range | None = None) -> tf.data.Dataset:
        """The batches of steps `start_step`, `start_step + 1`, ...; static shapes.

        With `rows` only these of each global batch.
        """

    def describe(self, step: int) -> str:
        """Names the examples in the batch of `step`, for an error message."""
