"""A linear probe on clean clips: how often it finds the class of a single recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sepcon.embeddings.shallow import ShallowSettings, train_shallow_classifier
from sepcon.embeddings.sources import EmbeddingSource, shards_ahead
from sepcon.metrics.bootstrap import mean_interval

# A thousand clips make few steps: smaller batches than for scenes.
CLIP_PROBE = ShallowSettings(hidden_units=None, batch_size=32)


def probe_clips(
    embedded: Mapping[str, EmbeddingSource],
    *,
    settings: ShallowSettings = CLIP_PROBE,
    seeds: Sequence[int],
    num_resamples: int = 1000,
) -> dict[str, Any]:
    """Trains linear classifiers on clean clips and measures their accuracy.

    A clip counts as right if the class with the highest probability is one of its labels.

    Args:
      embedded: 'train', what is learned from; 'validation', which decides when to stop; 'test'.
      settings: how the classifiers are trained.
      seeds: of the classifiers, one each; figures are means over them.
      num_resamples: resamples of the test clips behind the 95 % interval.

    Returns:
      clip_accuracy, clip_accuracy_low, clip_accuracy_high, validation_clip_accuracy,
      num_clean_test_clips.

    Raises:
      SepconError: as `train_shallow_classifier`.
    """
    found: dict[str, list[np.ndarray]] = {"validation": [], "test": []}
    for seed in seeds:
        classifier = train_shallow_classifier(
            train=embedded["train"],
            validation=embedded["validation"],
            settings=settings,
            seed=seed,
        )
        for role, right in found.items():
            right.append(_right(embedded[role], classifier.predict_clips(embedded[role])))
    by_clip = np.mean(found["test"], axis=0)  # [clips]
    low, high = mean_interval(by_clip[:, np.newaxis], num_resamples=num_resamples)
    return {
        "clip_accuracy": float(by_clip.mean()),
        "clip_accuracy_low": low,
        "clip_accuracy_high": high,
        "validation_clip_accuracy": float(np.mean(found["validation"])),
        "num_clean_test_clips": len(by_clip),
    }


def _right(source: EmbeddingSource, scores: np.ndarray) -> np.ndarray:
    labels = np.concatenate([clips.labels for clips in shards_ahead(source)])
    return np.take_along_axis(labels, scores.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0] > 0
