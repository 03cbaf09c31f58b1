"""Losses against over-separation, the habit of MixIT to spread one sound over several estimates.

Wisdom et al., "Sparse, Efficient, and Semantic Mixture Invariant Training: Taming In-the-Wild
Unsupervised Sound Separation" (2021), adds losses that favour few active estimates and uncorrelated
ones. The text of the paper was not available here: the source of each formula is said below.
"""

from typing import Literal

import tensorflow as tf

from sepcon.losses.assignment import check_waveforms
from sepcon.losses.snr import energy, energy_db, soft_threshold

SparsityForm = Literal["l1", "l1_l2", "log"]

# Power added under square roots, as a share of the mixture's and by itself: a silent estimate has
# no gradient but a finite one.
_RELATIVE_FLOOR, _FLOOR = 1e-8, 1e-12


def source_sparsity(
    *,
    mixture: tf.Tensor,
    estimate: tf.Tensor,
    form: SparsityForm = "l1",
    floor_db: float = 30.0,
) -> tf.Tensor:
    """How many estimates share the sound of a mixture; low when few do.

    With r_m the root mean square of estimate m of M, and r_x that of the mixture:

    - "l1": mean of r_m / r_x. Known from Google's later code of the bird separation models, which
      names it a ratio of L1 to L2 and refers to section 2.3 of the paper.
    - "l1_l2": sum of r_m, divided by M times the root of the sum of r_m^2; from 1 / M for a single
      active estimate to 1 / sqrt(M) for equal ones. Known from independent code that names the
      paper as its source. Unlike "l1" it does not fall when all estimates become quieter.
    - "log": mean of 10 log10(r_m^2 / r_x^2 + 10^(-floor_db/10)), in dB. The paper has, from memory,
      forms with a logarithm; this one is a choice of this project.

    Args:
        mixture: [batch, samples] float.
        estimate: [batch, source, samples] float, separated from it.
        form: which measure.
        floor_db: for "log" only: an estimate that far below the mixture counts as silent.

    Returns:
        [batch] float. None of the forms depends on the level of the recording.

    Raises:
        ValueError: if shapes do not fit or the form is unknown.
    """
    power, mixture_power = _powers(mixture, estimate)  # [batch, source], [batch, 1]
    if form == "log":
        return tf.reduce_mean(energy_db(power / mixture_power + soft_threshold(floor_db)), axis=1)
    rms = tf.sqrt(power + _RELATIVE_FLOOR * mixture_power)
    if form == "l1":
        return tf.reduce_mean(rms / tf.sqrt(mixture_power), axis=1)
    if form == "l1_l2":
        return tf.reduce_mean(rms, axis=1) / tf.norm(rms, axis=1)
    raise ValueError(f"form must be l1, l1_l2 or log, got {form!r}")


def source_covariance(*, mixture: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
    """How much the estimates have in common: their covariance off the diagonal.

    The sum over all pairs of different estimates of |<s_m, s_k>| / ||x||^2. Inner products stand
    for covariances because the mean of a waveform is close to zero. The paper's abstract mentions a
    loss on covariances; the absolute value and the division by the mixture's energy are choices of
    this project. Where the estimates sum to the mixture, all inner products together sum to its
    energy, so that M equal estimates have the value (M - 1) / M at any level.

    Args:
        mixture: [batch, samples] float.
        estimate: [batch, source, samples] float, separated from it.

    Returns:
        [batch] float, 0 for uncorrelated estimates.

    Raises:
        ValueError: if shapes do not fit.
    """
    power, mixture_power = _powers(mixture, estimate)
    estimate = tf.cast(estimate, power.dtype)
    samples = tf.cast(tf.shape(estimate)[2], power.dtype)
    covariance = tf.matmul(estimate, estimate, transpose_b=True) / samples
    off_diagonal = covariance * (1 - tf.eye(estimate.shape[1], dtype=power.dtype))
    return tf.reduce_sum(tf.abs(off_diagonal), axis=(1, 2)) / mixture_power[:, 0]


def _powers(mixture: tf.Tensor, estimate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean squares, [batch, source] and [batch, 1], the latter above zero."""
    mixture, estimate = check_waveforms(tf.convert_to_tensor(mixture)[:, tf.newaxis], estimate)
    samples = tf.cast(tf.shape(estimate)[2], estimate.dtype)
    return energy(estimate) / samples, energy(mixture) / samples + _FLOOR
