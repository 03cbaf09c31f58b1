"""One row of the benchmark: classifiers on the embeddings of a model, and how good they are."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from sepcon.embeddings.shallow import ShallowClassifier, ShallowSettings, train_shallow_classifier
from sepcon.embeddings.sources import EmbeddingSource, held, nested_subsets, shards_ahead
from sepcon.errors import SepconError, one_line
from sepcon.metrics.classification import (
    BootstrapInterval,
    ClassificationScores,
    bootstrap_interval,
    classification_scores,
)
from sepcon.metrics.retrieval import RetrievalScores, query_by_example
from sepcon.reports.results import Row

# What helps where the test part is too small.
MORE_TEST_CLIPS = (
    "bind other clips to TEST_CLIPS; with data/imported.gin, set other TEST_FOLDS or a larger "
    "TEST_SHARE"
)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """How embeddings are measured; see `benchmark_embeddings`.

    Attributes: classifier and linear_probe, how they are trained; num_classifiers of either;
    bootstrap_resamples; clips_per_class, the sizes of few labels; learned, what is learned of the
    embeddings before any classifier, with the labels that this may see: a function of the
    embeddings by role and of the row's seed, which returns others; None for nothing.
    """

    classifier: ShallowSettings
    linear_probe: ShallowSettings
    num_classifiers: int
    bootstrap_resamples: int
    clips_per_class: tuple[int, ...]
    learned: Callable[[dict[str, EmbeddingSource], int], dict[str, EmbeddingSource]] | None = None

    def prepared(
        self, embedded: Mapping[str, EmbeddingSource], seed: int
    ) -> Mapping[str, EmbeddingSource]:
        """Returns the embeddings that classifiers learn from and are scored on."""
        if self.learned is None:
            return embedded
        return {role: held(each) for role, each in self.learned(dict(embedded), seed).items()}


@dataclasses.dataclass(frozen=True)
class _TestClips:
    """What the test has to offer.

    Attributes: ids; labels, [clips, classes]; embedding, [clips, dim] of whole clips; patches, how
    many a clip has on average.
    """

    ids: np.ndarray
    labels: np.ndarray
    embedding: np.ndarray
    patches: float


def measure(
    measurement: Measurement,
    embedded: Mapping[str, EmbeddingSource],
    *,
    name: str,
    seed: int,
) -> tuple[Row, list[Row], list[str]]:
    """Trains on 'train', decides on 'validation', and scores 'test' once.

    Args:
      measurement: how.
      embedded: the embeddings of the three.
      name: of the row.
      seed: of the row.

    Returns:
      The row of results.json, the rows of per_class.csv, and the ids of the test clips.

    Raises:
      SepconError: no labels, or too few of the test clips have any to be scored.
    """
    as_embedded, embedded = embedded, measurement.prepared(embedded, seed)
    test = _test_clips(embedded["test"])
    _check_test(test, embedded["test"].class_names)
    seeds = classifier_seeds(seed, measurement.num_classifiers)
    by_hidden, by_linear = (
        [_train(embedded, each, seed) for seed in seeds]
        for each in (measurement.classifier, measurement.linear_probe)
    )
    predicted = np.stack([each.predict_clips(embedded["test"]) for each in by_hidden])
    try:
        scores = [classification_scores(targets=test.labels, scores=each) for each in predicted]
        interval = bootstrap_interval(
            targets=test.labels,
            scores=predicted,
            num_resamples=measurement.bootstrap_resamples,
        )
        linear = _scores(by_linear, embedded["test"], test)
        limited = _with_few_labels(measurement, as_embedded, test, seed, seeds)
    except ValueError as error:
        raise SepconError(f"{name} cannot be scored: {one_line(error)}") from error
    row = {
        "name": name,
        "seed": seed,
        **_headline(scores, interval),
        # What choices are to be made by: the test is looked at when they are made.
        "validation_mAP": _mean(max(each.validation_mean_average_precision) for each in by_hidden),
        "linear_mAP": _mean(each.mean_average_precision for each in linear),
        "linear_d_prime": _mean(each.d_prime for each in linear),
        "mAP_deviation": float(np.std([each.mean_average_precision for each in scores])),
        "num_classifiers": measurement.num_classifiers,
        **_retrieval(test),
        **limited,
        "num_train_clips": len(embedded["train"]),
        "num_validation_clips": len(embedded["validation"]),
        "num_test_clips": len(test.ids),
        "patches_per_clip": test.patches,
        "num_classes": scores[0].num_classes_used,
        "classes_left_out": scores[0].num_classes_left_out,
        "epochs": _mean(each.best_epoch + 1 for each in by_hidden),
        "embedding_size": embedded["test"].dim,
    }
    class_rows = _class_rows(name, seed, embedded["test"].class_names, test, scores)
    return row, class_rows, test.ids.tolist()


def classifier_seeds(seed: int, num_classifiers: int) -> list[int]:
    """Seeds of a row's classifiers: one seed's rows share them, two seeds have none in common."""
    return [num_classifiers * seed + k for k in range(num_classifiers)]


def _test_clips(source: EmbeddingSource) -> _TestClips:
    # Patches of one shard at a time; of the others their means are held.
    parts = [
        (clips.ids, clips.labels, clips.mean_over_patches(clips.embedding))
        for clips in shards_ahead(source)
    ]
    ids, labels, embedding = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _TestClips(ids, labels, embedding, sum(source.shard_rows) / len(source))


def _check_test(test: _TestClips, class_names: Sequence[str]) -> None:
    """Refuses test clips that tell no class from another; says if only one class can be scored."""
    positives = test.labels.sum(axis=0)
    scored = [
        name
        for name, count in zip(class_names, positives, strict=True)
        if 0 < count < len(test.ids)
    ]
    there = [name for name, count in zip(class_names, positives, strict=True) if count]
    if not scored:
        classes = f"{len(there)} class{'' if len(there) == 1 else 'es'}"
        raise SepconError(
            f"the test part holds {len(test.ids)} clip{'' if len(test.ids) == 1 else 's'} of "
            f"{classes} ({', '.join(there[:3]) or 'no labels'}): of no class are there clips with "
            f"it and clips without it, and nothing can be scored; {MORE_TEST_CLIPS}"
        )
    if len(scored) == 1 < len(class_names):
        print(
            f"sepcon: of {len(class_names)} classes only {scored[0]} can be scored with the "
            f"{len(test.ids)} test clips; {MORE_TEST_CLIPS}",
            file=sys.stderr,
        )


def _train(
    embedded: Mapping[str, EmbeddingSource], settings: ShallowSettings, seed: int
) -> ShallowClassifier:
    return train_shallow_classifier(
        train=embedded["train"], validation=embedded["validation"], settings=settings, seed=seed
    )


def _scores(
    classifiers: Iterable[ShallowClassifier], source: EmbeddingSource, test: _TestClips
) -> list[ClassificationScores]:
    return [
        classification_scores(targets=test.labels, scores=each.predict_clips(source))
        for each in classifiers
    ]


def _headline(scores: Sequence[ClassificationScores], interval: BootstrapInterval) -> Row:
    """Means over the classifiers and their intervals."""
    row: Row = {}
    for key, measure in (
        ("mAP", "mean_average_precision"),
        ("d_prime", "d_prime"),
        ("AUC", "auc"),
        ("lwlrap", "lwlrap"),
    ):
        row[key] = _mean(getattr(each, measure) for each in scores)
        row[f"{key}_low"], row[f"{key}_high"] = getattr(interval, measure)
    return row


def _retrieval(test: _TestClips) -> Row:
    try:
        found: RetrievalScores | None = query_by_example(
            embedding=test.embedding, labels=test.labels
        )
    except ValueError:  # No class has two test clips.
        found = None
    return {
        "retrieval_mAP": found and found.mean_average_precision,
        "retrieval_chance": found and found.chance,
    }


def _with_few_labels(
    measurement: Measurement,
    embedded: Mapping[str, EmbeddingSource],
    test: _TestClips,
    seed: int,
    classifier_seeds: Sequence[int],
) -> Row:
    """What the same classifiers reach when few of the training clips are labelled."""
    if not measurement.clips_per_class:
        return {}
    row: Row = {}
    subsets = nested_subsets(
        embedded["train"], clips_per_class=measurement.clips_per_class, seed=seed
    )
    for count, subset in subsets.items():
        few = measurement.prepared({**embedded, "train": held(subset)}, seed)
        classifiers = (_train(few, measurement.classifier, each) for each in classifier_seeds)
        scores = _scores(classifiers, few["test"], test)
        row[f"mAP_at_{count}"] = _mean(each.mean_average_precision for each in scores)
        row[f"d_prime_at_{count}"] = _mean(each.d_prime for each in scores)
        row[f"num_train_clips_at_{count}"] = len(subset)
    return row


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _class_rows(
    name: str,
    seed: int,
    class_names: Sequence[str],
    test: _TestClips,
    scores: Sequence[ClassificationScores],
) -> list[Row]:
    """Means over the classifiers, the class with most test clips first.

    A class that cannot be scored is NaN with all of them.
    """
    support = test.labels.sum(axis=0, dtype=np.int64)
    return [
        {
            "name": name,
            "seed": seed,
            "class": class_names[column],
            "positive_test_clips": int(support[column]),
            "average_precision": _mean(each.class_average_precision[column] for each in scores),
            "AUC": _mean(each.class_auc[column] for each in scores),
            "d_prime": _mean(each.class_d_prime[column] for each in scores),
        }
        for column in np.argsort(-support, kind="stable")
    ]
