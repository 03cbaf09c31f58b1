"""Multi-label classification metrics: average precision, ROC area, d-prime, lwlrap.

Equal scores count as in scikit-learn, whose functions are the oracles of the tests. They are not
called here because they take one class and one weighting at a time. Here a clip that a resample of
a bootstrap draws three times has the weight 3, so that each class is sorted once for all resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from sepcon.metrics.bootstrap import percentile_interval
from sepcon.metrics.class_ranking import score_classes
from sepcon.metrics.label_ranking import label_precisions, lwlrap

# Counts of clips up to this are exact in float32.
_EXACT_IN_FLOAT32 = 1 << 24


@dataclass(frozen=True)
class ClassificationScores:
    """Scores of one classifier, averaged over classes ("macro") and by class.

    A class without a positive clip has no average precision, and a class without positives or
    without negatives has no AUC. Such a class is NaN in the arrays, left out of the averages, and
    counted.
    """

    mean_average_precision: float
    auc: float
    d_prime: float
    lwlrap: float
    num_classes_used: int  # in mean_average_precision
    num_classes_left_out: int
    num_classes_left_out_of_auc: int  # and of d_prime
    class_average_precision: np.ndarray  # [classes]
    class_auc: np.ndarray  # [classes]
    class_d_prime: np.ndarray  # [classes]


@dataclass(frozen=True)
class BootstrapInterval:
    """Intervals of the averages over classes, each (lower, upper)."""

    mean_average_precision: tuple[float, float]
    d_prime: tuple[float, float]
    auc: tuple[float, float]
    lwlrap: tuple[float, float]
    confidence: float
    num_resamples: int


def average_precision(
    *, targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision: sum over thresholds of precision times the gain in recall.

    Args:
        targets: [clips, classes], 0 or 1 (or bool).
        scores: [clips, classes] finite float, higher for likelier.
        weights: [clips] not negative, how often each clip counts; None for once.

    Returns:
        [classes] float64 in 0..1; NaN for a class without positives.

    Raises:
        ValueError: if shapes differ, targets are not 0 or 1, or a score is not finite.
    """
    return score_classes(*_check(targets, scores), weights).average_precision[:, 0]


def roc_auc(
    *, targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve: how often a positive clip has a higher score than a negative one.

    A tie counts half (midranks). `classification_scores` has the same values with all others; this
    function is for who wants the area alone, as the tests do.

    Args:
        targets: [clips, classes], 0 or 1 (or bool).
        scores: [clips, classes] finite float.
        weights: [clips] not negative, how often each clip counts; None for once.

    Returns:
        [classes] float64 in 0..1; NaN for a class without positives or without negatives.

    Raises:
        ValueError: if shapes differ, targets are not 0 or 1, or a score is not finite.
    """
    return score_classes(*_check(targets, scores), weights).auc[:, 0]


def d_prime(auc: np.ndarray, *, num_pairs: np.ndarray | None = None) -> np.ndarray:
    """Sensitivity index d' = sqrt(2) * inverse normal of AUC, the AudioSet convention.

    An AUC of exactly 1 would make d' infinite, although it only says that no pair of a positive and
    a negative clip was in the wrong order among these few clips. With `num_pairs` such a class
    counts as if half a pair were in the wrong order: AUC is clipped to 0.5 / num_pairs and
    1 - 0.5 / num_pairs. That changes no other value, because half a pair (a tie) is the smallest
    step that AUC can take.

    Args:
        auc: [...], any shape, 0..1 or NaN.
        num_pairs: number of positives times number of negatives, broadcast against `auc`; None
            leaves 0 and 1 infinite.

    Returns:
        float64 of the same shape; 0 for chance, NaN for NaN.
    """
    auc = np.asarray(auc, np.float64)
    if num_pairs is not None:
        margin = 0.5 / np.maximum(num_pairs, 1)
        auc = np.clip(auc, margin, 1 - margin)
    return np.sqrt(2) * special.ndtri(auc)


def classification_scores(*, targets: np.ndarray, scores: np.ndarray) -> ClassificationScores:
    """Scores all classes and their averages.

    Args:
        targets: [clips, classes], 0 or 1 (or bool).
        scores: [clips, classes] finite float, higher for likelier.

    Returns:
        The averages and the values of each class.

    Raises:
        ValueError: if shapes differ, targets are not 0 or 1, a score is not finite, or no class
            has both positives and negatives.
    """
    targets, scores = _check(targets, scores)
    by_class = score_classes(targets, scores, None)
    class_d_prime = d_prime(by_class.auc, num_pairs=by_class.num_pairs)
    without_positives = np.isnan(by_class.average_precision[:, 0])
    without_auc = np.isnan(by_class.auc[:, 0])
    if without_auc.all():
        raise ValueError("targets: no class has both positive and negative clips")
    return ClassificationScores(
        mean_average_precision=float(by_class.average_precision[~without_positives].mean()),
        auc=float(by_class.auc[~without_auc].mean()),
        d_prime=float(class_d_prime[~without_auc].mean()),
        lwlrap=float(lwlrap(*label_precisions(targets=targets, scores=scores))),
        num_classes_used=int((~without_positives).sum()),
        num_classes_left_out=int(without_positives.sum()),
        num_classes_left_out_of_auc=int(without_auc.sum()),
        class_average_precision=by_class.average_precision[:, 0],
        class_auc=by_class.auc[:, 0],
        class_d_prime=class_d_prime[:, 0],
    )


def bootstrap_interval(
    *,
    targets: np.ndarray,
    scores: np.ndarray,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BootstrapInterval:
    """Bootstrap over clips: how much the averages depend on which clips were tested.

    Each resample draws as many clips as there are, with replacement, and averages over the
    classes that it can score and over the classifiers. The interval is the resamples' percentiles,
    moved so that their mean lies at the estimate: a clip drawn twice is a positive beside another,
    which lifts average precision in every resample, by as much as half the interval where a class
    has few positives.

    Args:
        targets: [clips, classes], 0 or 1 (or bool).
        scores: [clips, classes] finite float; or [classifiers, clips, classes] for the averages
            over several classifiers.
        num_resamples: the more, the steadier the bounds.
        confidence: share of resamples within the interval, in 0..1.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        The intervals.

    Raises:
        ValueError: as `classification_scores`, or if a number is out of range.
    """
    if num_resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            "num_resamples must be at least 1 and confidence between 0 and 1, got "
            f"{num_resamples} and {confidence}"
        )
    classifiers = [scores] if np.ndim(scores) == 2 else list(scores)
    point = [classification_scores(targets=targets, scores=each) for each in classifiers]
    weights = _multiplicities(len(targets), num_resamples, seed)
    resampled = [_resample(targets, each, weights) for each in classifiers]

    def interval(measure: str) -> tuple[float, float]:
        name = "average_precision" if measure == "mean_average_precision" else measure
        values = np.mean([_mean_of_known(getattr(each, name)) for each in resampled], axis=0)
        estimate = float(np.mean([getattr(each, measure) for each in point]))
        return _interval_around(estimate, values, confidence)

    return BootstrapInterval(
        mean_average_precision=interval("mean_average_precision"),
        d_prime=interval("d_prime"),
        auc=interval("auc"),
        lwlrap=interval("lwlrap"),
        confidence=confidence,
        num_resamples=num_resamples,
    )


def _multiplicities(num_clips: int, num_resamples: int, seed: int) -> np.ndarray:
    """How often each clip is drawn when as many are drawn as there are, [clips, resamples]."""
    rng = np.random.default_rng(seed)
    share = np.full(num_clips, 1 / num_clips)
    exact = np.float32 if num_clips < _EXACT_IN_FLOAT32 else np.float64
    weights = np.empty((num_clips, num_resamples), exact)
    for resample in range(num_resamples):
        weights[:, resample] = rng.multinomial(num_clips, share)
    return weights


class _Resampled(NamedTuple):
    """Scores of one classifier in each resample, NaN where there is none."""

    average_precision: np.ndarray  # [classes, resamples]
    auc: np.ndarray  # [classes, resamples]
    d_prime: np.ndarray  # [classes, resamples]
    lwlrap: np.ndarray  # [1, resamples]


def _resample(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> _Resampled:
    targets, scores = _check(targets, scores)
    by_class = score_classes(targets, scores, weights)
    return _Resampled(
        average_precision=by_class.average_precision,
        auc=by_class.auc,
        d_prime=d_prime(by_class.auc, num_pairs=by_class.num_pairs),
        lwlrap=lwlrap(*label_precisions(targets=targets, scores=scores), weights.T)[np.newaxis],
    )


def _check(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns targets as bool and scores as float, after a look at both."""
    targets, scores = np.asarray(targets), np.asarray(scores)
    if scores.ndim != 2 or targets.shape != scores.shape or scores.size == 0:
        raise ValueError(
            "targets and scores must be [clips, classes] and not empty, got "
            f"{targets.shape} and {scores.shape}"
        )
    if targets.dtype != bool and not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets must be 0 or 1")
    if not np.isfinite(scores).all():
        clip, label = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(
            f"scores must be finite, got {scores[clip, label]} for clip {clip}, class {label}"
        )
    return targets.astype(bool), scores


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Returns the mean over classes of what is not NaN, [classes, resamples] -> [resamples]."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    return total[known.any(axis=0)] / known.sum(axis=0)[known.any(axis=0)]


def _interval_around(estimate: float, values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Bounds that leave out equal shares of the values, moved from their mean to the estimate."""
    return percentile_interval(values - values.mean() + estimate, confidence)
