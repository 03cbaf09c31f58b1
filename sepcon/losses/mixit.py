"""Mixture invariant training (MixIT): separation learned from mixtures alone.

Wisdom et al., "Unsupervised Sound Separation Using Mixture Invariant Training" (2020): a network
separates the sum of N reference mixtures into M estimates; each estimate is given to one
reference, in the best of the N^M ways, and the sums are compared with the references.

The best way is found from inner products (see `sepcon.losses.assignment`), without building any of
the N^M sums. Only the winner is computed from its waveforms, so that its loss and gradient are as
accurate as those of any loss on waveforms.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import tensorflow as tf

from sepcon.losses.assignment import (
    check_waveforms,
    exact_mixing_matrix,
    is_searchable,
    least_squares_mixing_matrix,
)
from sepcon.losses.snr import log_mse

Search = Literal["auto", "exact", "least_squares"]


class MixitResult(NamedTuple):
    """The loss of each example, and which estimate went to which reference."""

    loss: tf.Tensor  # [batch], dB
    mixing_matrix: tf.Tensor  # [batch, reference, source], one 1 in each column


def mixit_loss(
    *,
    reference: tf.Tensor,
    estimate: tf.Tensor,
    max_snr_db: float = 30.0,
    search: Search = "auto",
) -> MixitResult:
    """The MixIT loss: mean over references of `log_mse`, under the best assignment.

    Gradients go through the winning assignment only.

    Args:
        reference: [batch, reference, samples] float, the mixtures; N of them.
        estimate: [batch, source, samples] float, separated from their sum; M of them. N and M
            must be known when the function is traced; batch and samples need not be.
        max_snr_db: threshold of `log_mse`.
        search: "exact" compares all N^M assignments, of which there may be 65,536 (M = 16 for
            N = 2, 10 for 3, 8 for 4); "least_squares" rounds a projection, at any M; "auto" is
            exact as far as that goes.

    Returns:
        loss [batch] and mixing_matrix [batch, reference, source], float32 (float64 if both
        inputs are).

    Raises:
        ValueError: if shapes do not fit, or "exact" would compare more than 65,536 assignments.
    """
    reference, estimate = check_waveforms(reference, estimate)
    if search == "auto":
        exact = is_searchable(reference.shape[1], estimate.shape[1])
        search = "exact" if exact else "least_squares"
    if search == "exact":
        mixing_matrix = exact_mixing_matrix(
            reference=reference, estimate=estimate, max_snr_db=max_snr_db
        )
    elif search == "least_squares":
        mixing_matrix = least_squares_mixing_matrix(reference=reference, estimate=estimate)
    else:
        raise ValueError(f"search must be auto, exact or least_squares, got {search!r}")
    remixed = remix(estimate=estimate, mixing_matrix=mixing_matrix)
    losses = log_mse(reference=reference, estimate=remixed, max_snr_db=max_snr_db)
    return MixitResult(tf.reduce_mean(losses, axis=1), mixing_matrix)


def remix(*, estimate: tf.Tensor, mixing_matrix: tf.Tensor) -> tf.Tensor:
    """Sums the estimates that each reference was given.

    Args:
        estimate: [batch, source, samples] float.
        mixing_matrix: [batch, reference, source], one 1 in each column, else 0.

    Returns:
        [batch, reference, samples].
    """
    batch, num_references = tf.shape(estimate)[0], mixing_matrix.shape[1]
    # Sums of rows and not a matrix product: it is faster here, and some accelerators round what
    # they multiply to 8 or 11 bits, an error of its own at high signal-to-noise ratios.
    winner = tf.argmax(mixing_matrix, axis=1)  # [batch, source]
    # int64, because accelerators have no arithmetic of int32.
    first = num_references * tf.range(tf.cast(batch, tf.int64))
    row = tf.reshape(winner + first[:, tf.newaxis], [-1])

    @tf.custom_gradient
    def operation(sources: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        # TensorFlow's own gradient looks for rows that belong nowhere, in two passes more.
        sums = tf.math.unsorted_segment_sum(sources, row, num_references * batch)
        return sums, lambda upstream: tf.gather(upstream, row)

    sums = operation(tf.reshape(estimate, [-1, tf.shape(estimate)[2]]))
    return tf.reshape(sums, [batch, num_references, tf.shape(estimate)[2]])
