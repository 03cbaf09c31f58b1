"""Label-weighted label-ranking average precision (lwlrap): how high a clip's own labels rank.

Defined for the DCASE 2019 task "Audio tagging with noisy labels and minimal supervision" (Fonseca
et al., 2019): over all labels of all clips, the mean of the precision at that label's place in the
clip's ranking of classes. Every label counts once, so that common classes weigh more than in mAP.
"""

from __future__ import annotations

import numpy as np

# Labels compared with all scores of their clip at a time.
_PAIRS_AT_ONCE = 4096


def label_precisions(*, targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums up, for each clip, the precisions at its labels.

    The precision at a label is the share of the clip's labels among the classes that score at
    least as high, so that of equal scores the worst order counts, as in scikit-learn.

    Args:
        targets: [clips, classes] bool.
        scores: [clips, classes] finite float.

    Returns:
        Sum of the precisions, [clips] float64, and number of labels, [clips].
    """
    clips, labels = np.nonzero(targets)
    precision = np.empty(len(clips))
    for start in range(0, len(clips), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        rows = scores[clips[part]]  # [pairs, classes]
        own = rows[np.arange(len(rows)), labels[part]]
        ranked = rows >= own[:, np.newaxis]
        hits = np.count_nonzero(ranked & targets[clips[part]], axis=1)
        precision[part] = hits / np.count_nonzero(ranked, axis=1)
    sums = np.bincount(clips, weights=precision, minlength=len(targets))
    return sums, np.count_nonzero(targets, axis=1)


def lwlrap(sums: np.ndarray, counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Averages what `label_precisions` returns over all labels.

    Args:
        sums: [clips].
        counts: [clips], not all zero.
        weights: [resamples, clips], how often each clip counts; None for once.

    Returns:
        [resamples], or a scalar without weights, in 0..1; NaN where no clip with a label counts.
    """
    if weights is None:
        weights = np.ones(len(sums))
    with np.errstate(invalid="ignore"):
        return (weights @ sums) / (weights @ counts.astype(np.float64))
