"""Example mixing: another clip of the batch plays softly behind a patch."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from sepcon.replicas import gather_global, num_replicas


@dataclass(frozen=True)
class ExampleMixing:
    """Mixes a patch of another clip into each patch, at a low level and keeping the energy.

    The mix-back of Fonseca et al. 2021, "Unsupervised contrastive learning of sound event
    representations", on waveforms in place of power spectra: patch x, with patch y of another clip,
    becomes

        sqrt(1 - a) x + sqrt(a |x|^2 / |y|^2) y,   a uniform in [0, max_share],

    so that the stranger has the share a of the energy. Which other clip of the global batch it is,
    is drawn uniformly. A silent stranger adds nothing, and a silent patch stays silent. A batch of
    one clip has no stranger; it is then the clip itself.

    Attributes:
      max_share: the largest share of the stranger's energy, in [0, 1].
    """

    max_share: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.max_share <= 1:
            raise ValueError(f"max_share={self.max_share} is not in [0, 1]")

    @property
    def num_uniforms(self) -> int:
        """Columns of random numbers that one patch takes: the other clip, and its share."""
        return 2

    def __call__(self, patches: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Mixes each patch with one of another clip.

        Args:
          patches: [batch, samples] float32, one of each clip; in replica context, of its rows.
          uniforms: [batch, 2] float32 in [0, 1).

        Returns:
          [batch, samples] float32.
        """
        # Strangers come from the global batch: how many replicas share it makes no difference.
        everyone, first = gather_global(patches)
        # Whole numbers in float32 to the end: accelerators have no arithmetic of int32.
        rows = tf.cast(tf.shape(patches)[0], tf.float32)
        total = rows * num_replicas()
        step = 1 + tf.minimum(tf.floor(uniforms[:, 0] * (total - 1)), total - 2)
        stranger = (tf.cast(first, tf.float32) + tf.range(rows) + step) % total
        stranger = tf.gather(everyone, tf.cast(stranger, tf.int32))
        share = self.max_share * uniforms[:, 1:]  # [batch, 1]
        level = tf.math.divide_no_nan(share * _energy(patches), _energy(stranger))
        return tf.sqrt(1.0 - share) * patches + tf.sqrt(level) * stranger


def _energy(patches: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(patches), axis=-1, keepdims=True)  # [batch, 1]
