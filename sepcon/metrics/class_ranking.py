"""Classes as rankings of clips: average precision and ROC area under many weights at once.

Clips of equal score count as one step of the ranking, as in scikit-learn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

# Weights are worked on in blocks of about this many, which stay in the processor's cache.
_BLOCK_WEIGHTS = 2_000_000


class ClassScores(NamedTuple):
    """Scores of each class under each column of weights, NaN where there is none."""

    average_precision: np.ndarray  # [classes, resamples]
    auc: np.ndarray  # [classes, resamples]
    num_pairs: np.ndarray  # [classes, resamples] of a positive and a negative clip


def score_classes(
    targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None
) -> ClassScores:
    """Scores every class under every column of weights.

    Args:
        targets: [clips, classes] bool.
        scores: [clips, classes] finite float, higher for likelier.
        weights: [clips] or [clips, resamples] not negative, how often each clip counts; None for
            once. With float32, counts of clips must be below 2^24.

    Returns:
        The scores, one column for each column of weights (one column without weights).

    Raises:
        ValueError: the weights are not of these clips, or one is negative.
    """
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights)
    if weights.shape[0] != len(scores) or (weights < 0).any():
        raise ValueError(
            f"weights must be [{len(scores)}] and not negative, got shape {weights.shape}"
        )
    if weights.dtype != np.float32:
        weights = weights.astype(np.float64)
    weights = weights.reshape(len(scores), -1)
    size = max(2, _BLOCK_WEIGHTS // len(weights))
    blocks = [
        np.ascontiguousarray(weights[:, start : start + size])
        for start in range(0, weights.shape[1], size)
    ]
    by_class = [
        _score_class(_rank(target, score), blocks)
        for target, score in zip(
            np.ascontiguousarray(targets.T), np.ascontiguousarray(scores.T), strict=True
        )
    ]
    return ClassScores(*(np.stack(rows) for rows in zip(*by_class, strict=True)))


class _Ranking(NamedTuple):
    """The clips of one class, best first. Only the steps that hold positives matter.

    Cuts are the places in the ranking where such a step begins or ends.
    """

    positives: np.ndarray  # [positives] numbers of the clips
    first_positive: np.ndarray  # [steps] positives above each step
    begins: np.ndarray  # [steps] number of the cut
    ends: np.ndarray  # [steps]
    between_cuts: sparse.csr_matrix  # [cuts, clips] the clips from each cut to the next


def _rank(target: np.ndarray, score: np.ndarray) -> _Ranking:
    """Sorts one class: target [clips] bool, score [clips]."""
    order = np.argsort(-score)
    score, target = score[order], target[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # of each step
    step = np.searchsorted(last, np.flatnonzero(target))  # of each positive clip
    steps = np.unique(step)  # those that hold positives
    begins = np.where(steps > 0, last[steps - 1] + 1, 0)
    ends = last[steps] + 1
    cuts = np.unique(np.concatenate([[0], begins, ends]))
    ones = np.ones(len(order), np.float32)
    return _Ranking(
        positives=order[target],
        first_positive=np.searchsorted(step, steps, side="left"),
        begins=np.searchsorted(cuts, begins),
        ends=np.searchsorted(cuts, ends),
        between_cuts=sparse.csr_matrix(
            (ones, order, np.append(cuts, len(order))), shape=(len(cuts), len(order))
        ),
    )


def _score_class(ranking: _Ranking, blocks: list[np.ndarray]) -> ClassScores:
    """Scores one class under blocks of weights, each [clips, resamples of the block]."""
    scores = [_score_block(ranking, block) for block in blocks]
    return ClassScores(*(np.concatenate(parts) for parts in zip(*scores, strict=True)))


def _score_block(ranking: _Ranking, weights: np.ndarray) -> ClassScores:
    counts = _cumulated(ranking.between_cuts @ weights)  # clips above each cut
    # Positives of each step, and those down to and including it.
    gain = np.add.reduceat(weights[ranking.positives], ranking.first_positive, axis=0)
    after = np.cumsum(gain, axis=0, dtype=np.float64)
    counts_before, counts_after = counts[ranking.begins], counts[ranking.ends]
    num_positives = gain.sum(axis=0, dtype=np.float64)
    num_pairs = num_positives * (counts[-1] - num_positives)
    # Above a positive, those of its own step by half, stand (before + after) / 2 clips. What of
    # these are positives themselves adds up to half the square of their number.
    twice_above = (gain * (counts_before + counts_after)).sum(axis=0) - num_positives**2
    precision = after / np.maximum(counts_after, np.finfo(float).tiny)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = (gain * precision).sum(axis=0) / num_positives
        auc = (num_pairs - twice_above / 2) / num_pairs
    return ClassScores(average, np.where(num_pairs > 0, auc, np.nan), num_pairs)


def _cumulated(values: np.ndarray) -> np.ndarray:
    """Sums over the first 0, 1, 2, ... rows, [rows, n] -> [rows + 1, n] float64."""
    sums = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:])
    return sums
