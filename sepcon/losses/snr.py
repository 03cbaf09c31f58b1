"""Signal-to-noise ratios of waveforms as losses, in dB, lower is better.

All of them sum over the last axis and keep the others. The thresholded ones follow Wisdom et al.,
"Unsupervised Sound Separation Using Mixture Invariant Training" (2020), equation 2: once the
signal-to-noise ratio passes `max_snr_db`, an example has little left to gain.
"""

import math

import tensorflow as tf

# Added to every energy under a logarithm, so that digital silence stays finite: -80 dB.
ENERGY_FLOOR = 1e-8


def energy_db(energy: tf.Tensor) -> tf.Tensor:
    """Converts energy to decibels: 10 log10(energy + 1e-8).

    Args:
        energy: [...] float, sums of squares.

    Returns:
        [...] float, in dB.
    """
    return (10.0 / math.log(10.0)) * tf.math.log(energy + ENERGY_FLOOR)


def soft_threshold(max_snr_db: float) -> float:
    """Computes tau = 10^(-max_snr_db/10) of equation 2.

    Args:
        max_snr_db: the ratio beyond which the loss flattens; `math.inf` for no threshold.

    Returns:
        The share of the reference's energy that is added to the energy of the error.
    """
    return 10.0 ** (-max_snr_db / 10.0)


def energy(waveform: tf.Tensor) -> tf.Tensor:
    """Sums the squares over the last axis.

    Args:
        waveform: [..., samples] float.

    Returns:
        [...] of the same dtype.
    """
    return tf.reduce_sum(tf.square(waveform), axis=-1)


def log_mse(*, reference: tf.Tensor, estimate: tf.Tensor, max_snr_db: float = 30.0) -> tf.Tensor:
    """Thresholded log squared error: `negative_snr` without the reference's own level.

    10 log10(||reference - estimate||^2 + 10^(-max_snr_db/10) ||reference||^2 + 1e-8).

    Args:
        reference: [..., samples] float.
        estimate: like `reference`.
        max_snr_db: the ratio beyond which the loss flattens; `math.inf` for no threshold.

    Returns:
        [...] float, in dB.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_same_shape(reference, estimate)
    slack = soft_threshold(max_snr_db) * energy(reference)
    return energy_db(energy(reference - estimate) + slack)


def negative_snr(
    *, reference: tf.Tensor, estimate: tf.Tensor, max_snr_db: float = 30.0
) -> tf.Tensor:
    """Thresholded negative signal-to-noise ratio.

    Its gradient with respect to `estimate` is that of `log_mse`; its value does not depend on the
    level of the reference. A perfect estimate gets -max_snr_db, a silent one about 0.

    Args:
        reference: [..., samples] float.
        estimate: like `reference`.
        max_snr_db: the ratio beyond which the loss flattens; `math.inf` for no threshold.

    Returns:
        [...] float, in dB.

    Raises:
        ValueError: if the shapes differ.
    """
    error = log_mse(reference=reference, estimate=estimate, max_snr_db=max_snr_db)
    return error - energy_db(energy(reference))


def silent_reference_log_mse(
    *, mixture: tf.Tensor, estimate: tf.Tensor, max_snr_db: float = 20.0
) -> tf.Tensor:
    """The form of `log_mse` for an estimate whose reference is all zero.

    Such a reference has no level to measure the error against; the mixture's serves instead:
    10 log10(||estimate||^2 + 10^(-max_snr_db/10) ||mixture||^2 + 1e-8).

    Args:
        mixture: [..., samples] float, what the estimate was separated from.
        estimate: like `mixture`.
        max_snr_db: how far below the mixture the loss flattens.

    Returns:
        [...] float, in dB.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_same_shape(mixture, estimate)
    return energy_db(energy(estimate) + soft_threshold(max_snr_db) * energy(mixture))


def negative_si_snr(*, reference: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
    """Negative scale-invariant signal-to-noise ratio, without removal of the mean.

    Le Roux et al., "SDR - half-baked or well done?" (2019), equation 5: the part of the estimate
    along the reference is the signal, the rest is the noise. Both are divided by the estimate's
    energy before 1e-8 is added, so that the value lies between -80 dB and 80 dB; a silent estimate
    gets 80 dB.

    No task of sepcon trains on it, because a separator must also learn the level of a source. It is
    here as the loss of much published work, for tasks of your own.

    Args:
        reference: [..., samples] float.
        estimate: like `reference`.

    Returns:
        [...] float, in dB.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_same_shape(reference, estimate)
    direction = tf.math.l2_normalize(reference, axis=-1)
    unit = tf.math.l2_normalize(estimate, axis=-1)
    cosine = tf.reduce_sum(direction * unit, axis=-1, keepdims=True)
    # Measured on waveforms: 1 - cosine^2 would cancel in float32 above 60 dB. And as the part of
    # the reference outside of the estimate, which is as large, but not 0 for a silent estimate.
    noise = energy(direction - cosine * unit)
    return energy_db(noise) - energy_db(tf.square(cosine[..., 0]))


def _check_same_shape(first: tf.Tensor, second: tf.Tensor) -> None:
    """Refuses what subtraction would silently broadcast."""
    if not tf.TensorShape(first.shape).is_compatible_with(second.shape):
        raise ValueError(
            f"reference (or mixture) and estimate must have one shape, got {first.shape} and "
            f"{second.shape}"
        )
