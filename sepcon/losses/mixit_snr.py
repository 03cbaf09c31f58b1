"""The MixIT loss relative to the level of the clips, for logs and tables."""

from __future__ import annotations

import tensorflow as tf

from sepcon.losses.mixit import remix
from sepcon.losses.snr import energy, energy_db, soft_threshold


def mixit_negative_snr_db(
    *,
    reference: tf.Tensor,
    estimate: tf.Tensor,
    mixing_matrix: tf.Tensor,
    max_snr_db: float = 30.0,
) -> tf.Tensor:
    """The MixIT loss minus the level of each reference, in dB; lower is better.

    It does not depend on how loud the clips are: silent estimates have about 0 dB, perfect ones
    -max_snr_db. The level of a reference counts as at least that of the mixture less `max_snr_db`,
    because the logarithm of a silent reference is infinite.

    Args:
      reference: [batch, reference, samples] float32.
      estimate: [batch, source, samples] float32.
      mixing_matrix: [batch, reference, source] of `mixit_loss` on them.
      max_snr_db: the same as there.

    Returns:
      [batch] float32, dB, the mean over the references.
    """
    slack = soft_threshold(max_snr_db)
    remixed = remix(estimate=estimate, mixing_matrix=mixing_matrix)
    mixture_energy = energy(tf.reduce_sum(reference, axis=1))[:, tf.newaxis]
    level = tf.maximum(energy(reference), slack * mixture_energy)  # [batch, reference]
    error = energy(reference - remixed) + slack * level
    return tf.reduce_mean(energy_db(error) - energy_db(level), axis=1)
