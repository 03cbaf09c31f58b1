"""A separator inside the training step, in the place of stored channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from sepcon.views.sampler import uniform_index


@dataclass(frozen=True)
class SeparatorFrontEnd:
    """One or several frozen separators behind one front-end; one is drawn for each example.

    Every separator runs on the whole batch and the drawn one's channels are kept, so K of them
    cost K times as much as one. Nothing is learned through them.

    Attributes:
      separators: callables [batch, samples] -> [batch, channel, samples], all with the same number
        of channels.
    """

    separators: Sequence[Callable[[tf.Tensor], tf.Tensor]]

    def __post_init__(self) -> None:
        if not self.separators:
            raise ValueError("separators must hold at least one separator, got none")

    def __call__(self, mixture: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Separates each clip with the separator that its uniform draws.

        Args:
          mixture: [batch, samples] float32.
          uniform: [batch] float32 in [0, 1).

        Returns:
          [batch, channel, samples] float32.
        """
        drawn = uniform_index(uniform, len(self.separators))
        outputs = [separate(mixture) for separate in self.separators]
        channels = outputs[0]
        for number, output in enumerate(outputs[1:], start=1):
            channels = tf.where((drawn == number)[:, tf.newaxis, tf.newaxis], output, channels)
        return tf.stop_gradient(channels)
