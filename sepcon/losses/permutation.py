"""Permutation invariant training (PIT): separation learned from known sources in any order.

Yu et al., "Permutation Invariant Training of Deep Models for Speaker-Independent Multi-talker
Speech Separation" (2017), with the loss of Wisdom et al., "What's All the FUSS About Free Universal
Sound Separation Data?" (2021): M estimates, up to M references, silence for the estimates that are
left over.

The best permutation is found by dynamic programming over sets of estimates (Held and Karp, "A
Dynamic Programming Approach to Sequencing Problems", 1962): the best way to give the first n
references to a set of n estimates follows from the ways to give the first n - 1 to that set without
one. That compares all M! permutations in 2^M steps, with shapes that are known to XLA.
"""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sepcon.losses.assignment import check_waveforms
from sepcon.losses.snr import energy, energy_db, soft_threshold

# Sets of estimates that the search goes through: all of those of 16 estimates.
MAX_SETS = 65_536


class PermutationResult(NamedTuple):
    """The loss of each example, and which reference each estimate was compared with."""

    loss: tf.Tensor  # [batch], dB
    place: tf.Tensor  # [batch, source] int32, row of the reference, -1 for silence


def permutation_invariant_loss(
    *,
    reference: tf.Tensor,
    estimate: tf.Tensor,
    mixture: tf.Tensor | None = None,
    max_snr_db: float = 30.0,
    silent_max_snr_db: float = 20.0,
) -> PermutationResult:
    """The lowest mean over estimates of the thresholded log squared error, of all permutations.

    An estimate with a reference that is not silent has the loss `log_mse`. An estimate whose
    reference is all zero, or that has no reference, has the loss `silent_reference_log_mse`, whose
    threshold is relative to the mixture. Gradients go through the winning permutation only.

    The published code of the FUSS baseline chooses the permutation by a loss without thresholds;
    here the permutation with the lowest loss, thresholds included, is chosen.

    Args:
        reference: [batch, reference, samples] float, the sources; rows of zeros are silent.
        estimate: [batch, source, samples] float; M of them, at least as many as references. Both
            numbers must be known when the function is traced; batch and samples need not be.
        mixture: [batch, samples] float, what was separated; None for the sum of the references.
        max_snr_db: threshold of `log_mse`.
        silent_max_snr_db: threshold of `silent_reference_log_mse`: how far below the mixture an
            estimate must be to count as silent.

    Returns:
        loss [batch], float32 (float64 if reference and estimate are), and place [batch, source].

    Raises:
        ValueError: if shapes do not fit, there are more references than estimates, or the sets of
            up to N estimates are more than 65,536 (M = 16 for any N, 20 for 6, 35 for 4).
    """
    reference, estimate = check_waveforms(reference, estimate)
    _check_numbers(reference.shape[1], estimate.shape[1])
    mixture = tf.reduce_sum(reference, axis=1) if mixture is None else mixture
    mixture = tf.cast(mixture, estimate.dtype)[:, tf.newaxis]
    check_waveforms(mixture, estimate)
    # One more row, of silence, for the estimates that are left over.
    reference = tf.pad(reference, [[0, 0], [0, 1], [0, 0]])
    active = tf.reduce_any(tf.not_equal(reference, 0), axis=2)  # [batch, reference + 1]
    slack = tf.where(
        active,
        soft_threshold(max_snr_db) * energy(reference),
        soft_threshold(silent_max_snr_db) * energy(mixture),
    )
    losses = _pairwise(reference, tf.stop_gradient(estimate), slack)
    place = _best_places(tf.stop_gradient(losses))  # [batch, source]
    error = energy(tf.gather(reference, place, batch_dims=1) - estimate)
    loss = energy_db(error + tf.gather(slack, place, batch_dims=1))
    sounds = tf.gather(active, place, batch_dims=1)
    return PermutationResult(tf.reduce_mean(loss, axis=1), tf.where(sounds, place, -1))


def _check_numbers(num_references: int, num_sources: int) -> None:
    if num_references > num_sources:
        raise ValueError(
            f"reference has {num_references} rows and estimate {num_sources}: expected at most as "
            "many references as estimates; separate into more sources"
        )
    sets = sum(math.comb(num_sources, n) for n in range(num_references + 1))
    if sets > MAX_SETS:
        raise ValueError(
            f"reference and estimate have {num_references} and {num_sources} rows: of their {sets} "
            f"sets at most {MAX_SETS} can be searched; take fewer estimates or references"
        )


def _pairwise(reference: tf.Tensor, estimate: tf.Tensor, slack: tf.Tensor) -> tf.Tensor:
    """Returns the loss of each estimate against each reference, [batch, reference, source].

    From differences, one reference at a time: inner products would cancel at high signal-to-noise
    ratios, and all differences at once are N times the size of the estimates.
    """
    errors = [energy(row[:, tf.newaxis] - estimate) for row in tf.unstack(reference, axis=1)]
    return energy_db(tf.stack(errors, axis=1) + slack[:, :, tf.newaxis])


def _best_places(losses: tf.Tensor) -> tf.Tensor:
    """Finds the reference of each estimate.

    Args:
        losses: [batch, reference + 1, source], the last row for an estimate without reference.

    Returns:
        [batch, source] int32, rows of `losses`, of which only the last may come more than once.
    """
    num_references, num_sources = losses.shape[1] - 1, losses.shape[2]
    excess = losses[:, :-1] - losses[:, -1:]
    steps = _sets(num_references, num_sources)
    totals = tf.zeros_like(losses[:, 0, :1])  # [batch, set]: of no estimate
    choices = []
    for row, step in enumerate(steps):
        own = tf.gather(excess[:, row], step.members, axis=1)  # [batch, set, member]
        candidates = tf.gather(totals, step.without, axis=1) + own
        choices.append(tf.argmin(candidates, axis=2, output_type=tf.int32))
        totals = tf.reduce_min(candidates, axis=2)
    chosen = tf.argmin(totals, axis=1, output_type=tf.int32)  # [batch], number of the set
    batch = tf.shape(losses)[0] if losses.shape[0] is None else losses.shape[0]
    place = tf.fill([batch, num_sources], num_references)
    for row in reversed(range(num_references)):
        choice = tf.gather(choices[row], chosen, batch_dims=1)  # [batch], number of the member
        member = tf.gather(tf.gather(steps[row].members, chosen), choice, batch_dims=1)
        place = tf.where(tf.one_hot(member, num_sources, True, False), row, place)
        chosen = tf.gather(tf.gather(steps[row].without, chosen), choice, batch_dims=1)
    return place


class _Sets(NamedTuple):
    """All sets of n estimates."""

    members: np.ndarray  # [set, n] int32, numbers of estimates
    without: np.ndarray  # [set, n] int32, the set of n - 1 that lacks that member


@functools.lru_cache(maxsize=16)
def _sets(num_references: int, num_sources: int) -> list[_Sets]:
    """Returns the sets of 1, 2 ... up to `num_references` estimates."""
    number: dict[tuple[int, ...], int] = {(): 0}
    steps = []
    for size in range(1, num_references + 1):
        members = list(itertools.combinations(range(num_sources), size))
        without = [[number[s[:k] + s[k + 1 :]] for k in range(size)] for s in members]
        steps.append(_Sets(np.array(members, np.int32), np.array(without, np.int32)))
        number = {chosen: place for place, chosen in enumerate(members)}
    return steps
