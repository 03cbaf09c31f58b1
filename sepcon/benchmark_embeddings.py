"""What `sepcon benchmark` measures of encoders: a shallow classifier on frozen embeddings."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sepcon.benchmark import Results, Row, write_csv
from sepcon.clip_probe import CLIP_PROBE, probe_clips
from sepcon.data.clips import ClipDataset
from sepcon.data.embeddings import Embeddings
from sepcon.embed_splits import check_splits, embed_splits
from sepcon.errors import SepconError, one_line
from sepcon.metrics import ClassificationScores, bootstrap_interval, classification_scores
from sepcon.models.embedders import (
    Embedder,
    find_model,
    load_embedder,
    load_reference_config,
    log_mel_statistics,
    untrained_encoder,
)
from sepcon.models.encoder_files import EncoderConfig
from sepcon.models.shallow import (
    LINEAR_PROBE,
    ShallowClassifier,
    ShallowSettings,
    train_shallow_classifier,
)

CLASSES_FILE = "per_class.csv"
LOG_MEL_STATISTICS = "log_mel_statistics"
UNTRAINED_ENCODER = "untrained_encoder"
# Before the roles of clean clips where embeddings are kept.
CLEAN_CLIPS_PREFIX = "clean_"

Model = str | Path | Embedder


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One line of the table to be: a model and the seed of what is trained on it."""

    name: str
    seed: int
    load: Callable[[], Embedder]


def benchmark_embeddings(
    folder: Path,
    *,
    models: Mapping[str, Model | Sequence[Model]],
    train: ClipDataset,
    validation: ClipDataset,
    test: ClipDataset,
    seeds: Sequence[int] = (0,),
    baselines: Sequence[str] = (LOG_MEL_STATISTICS, UNTRAINED_ENCODER),
    reference: str | Path | None = None,
    classifier: ShallowSettings | None = None,
    linear_probe: ShallowSettings | None = None,
    clean_clips: Mapping[str, ClipDataset] | None = None,
    clip_probe: ShallowSettings | None = None,
    num_classifiers: int = 5,
    bootstrap_resamples: int = 1000,
    batch_size: int = 32,
    shard_size: int = 1024,
) -> Results:
    """Embeds three splits with each model, trains a classifier on top, and tests it once.

    A clip's embedding is the mean over its patches. Training stops, and penalties are chosen, on
    `validation`; `test` is looked at once per row, when all is decided. The seed of a classifier
    alone can move a row by as much as two ways of pretraining differ, so several are trained on
    the same embeddings and all figures are means over them. Embeddings are kept under
    folder/embeddings and a killed run goes on after the last finished shard; per_class.csv comes
    at the end.

    Args:
      folder: where to write.
      models: name in the table -> a model (SavedModel, run folder of `sepcon export` or `sepcon
        pretrain`, or Embedder), or as many of them as there are seeds, one for each.
      train: labelled clips the classifier learns from.
      validation: labelled clips for its decisions.
      test: labelled clips it is measured on.
      seeds: seeds of the classifiers and of the untrained encoder; a row for each model and seed.
      baselines: rows put before the models: 'log_mel_statistics', 'untrained_encoder'.
      reference: the run or export whose front-end and architecture the baselines have; by default
        the first of the models that tells them.
      classifier: how the classifier is trained, one hidden layer of 512 by default.
      linear_probe: how the linear probe is trained.
      clean_clips: 'train', 'validation' and 'test' of single recordings, say those that the scenes
        were mixed from: where there are any, a linear probe is trained on them too.
      clip_probe: how that one is trained.
      num_classifiers: how many of either are trained for each row, from different seeds.
      bootstrap_resamples: resamples of the test clips behind the 95 % intervals.
      batch_size: clips embedded at a time.
      shard_size: clips per file of embeddings.

    Returns:
      The table, and the rows: name, seed, mAP, mAP_low, mAP_high, d_prime, d_prime_low,
      d_prime_high, AUC, validation_mAP, linear_mAP, linear_d_prime, mAP_deviation (between the
      classifiers), num_classifiers, seconds, num_train_clips, num_validation_clips,
      num_test_clips, num_classes, classes_left_out, epochs, embedding_size; and with clean clips
      what `sepcon.clip_probe` says of them.

    Raises:
      SepconError: a model is missing or broken, the splits differ in their classes or share a
        clip, the models are not as many as the seeds, or the folder cannot be written.
      ValueError: num_classifiers is less than 1.
    """
    if num_classifiers < 1:
        raise ValueError(f"num_classifiers={num_classifiers} must be at least 1")
    splits = {"train": train, "validation": validation, "test": test}
    for each in (splits, *([clean_clips] if clean_clips else [])):
        check_splits(each)
    entries = _entries(models, baselines, reference, seeds, train)
    settings = (classifier or ShallowSettings(), linear_probe or LINEAR_PROBE)
    rows: list[Row] = []
    classes: list[Row] = []
    for number, entry in enumerate(entries, start=1):
        start = time.monotonic()
        title = f"[{number}/{len(entries)}] {entry.name}, seed {entry.seed}"
        embed = functools.partial(
            embed_splits,
            folder,
            entry.load(),
            title=title,
            batch_size=batch_size,
            shard_size=shard_size,
        )
        embedded = embed(splits)
        row, row_classes = _measure(entry, embedded, settings, num_classifiers, bootstrap_resamples)
        if clean_clips:
            row |= probe_clips(
                embed(clean_clips, prefix=CLEAN_CLIPS_PREFIX),
                settings=clip_probe or CLIP_PROBE,
                seeds=_classifier_seeds(entry, num_classifiers),
                num_resamples=bootstrap_resamples,
            )
        rows.append({**row, "seconds": round(time.monotonic() - start, 2)})
        classes += row_classes
    write_csv(folder / CLASSES_FILE, classes)
    return Results(rows, _table(rows))


def _table(rows: Sequence[Row]) -> list[list[str]]:
    clean = all("clip_accuracy" in row for row in rows)
    head = ["row", "seed", "mAP", "95 % interval", "d-prime", "95 % interval", "linear mAP"]
    head += ["clean clips", "95 % interval", "s"] if clean else ["s"]
    cells = [
        [
            str(row["name"]),
            str(row["seed"]),
            f"{row['mAP']:.3f}",
            f"{row['mAP_low']:.3f} to {row['mAP_high']:.3f}",
            f"{row['d_prime']:.2f}",
            f"{row['d_prime_low']:.2f} to {row['d_prime_high']:.2f}",
            f"{row['linear_mAP']:.3f}",
            *(_clean_cells(row) if clean else []),
            f"{row['seconds']:.0f}",
        ]
        for row in rows
    ]
    return [head, *cells]


def _clean_cells(row: Row) -> list[str]:
    low, high = row["clip_accuracy_low"], row["clip_accuracy_high"]
    return [f"{row['clip_accuracy']:.3f}", f"{low:.3f} to {high:.3f}"]


def _entries(
    models: Mapping[str, Model | Sequence[Model]],
    baselines: Sequence[str],
    reference: str | Path | None,
    seeds: Sequence[int],
    train: ClipDataset,
) -> list[_Entry]:
    if not seeds or not (models or baselines):
        raise SepconError("nothing to measure: give models or baselines, and at least one seed")
    per_seed = {name: _one_per_seed(name, given, seeds) for name, given in models.items()}
    paths = [m for given in per_seed.values() for m in given if not isinstance(m, Embedder)]
    for path in paths:
        find_model(path)  # A wrong path is told now, not after an hour.
    entries = [
        entry
        for baseline in baselines
        for entry in _baseline_entries(baseline, reference, paths, seeds, train)
    ]
    for name, given in per_seed.items():
        for model, seed in zip(given, seeds, strict=True):
            entries.append(_Entry(name, seed, lambda model=model: load_embedder(model)))  # type: ignore[misc]
    names = [entry.name for entry in entries if entry.seed == seeds[0]]
    if len(set(names)) < len(names):
        raise SepconError(f"two rows have the same name: {sorted(names)}; rename one")
    return entries


def _one_per_seed(
    name: str, given: Model | Sequence[Model], seeds: Sequence[int]
) -> Sequence[Model]:
    if isinstance(given, str | Path | Embedder):
        return [given] * len(seeds)
    if len(given) != len(seeds):
        raise SepconError(
            f"row {name!r} has {len(given)} models for {len(seeds)} seeds {list(seeds)}; "
            "give one model, or one for each seed"
        )
    return given


def _baseline_entries(
    baseline: str,
    reference: str | Path | None,
    paths: Sequence[str | Path],
    seeds: Sequence[int],
    train: ClipDataset,
) -> list[_Entry]:
    if baseline not in (LOG_MEL_STATISTICS, UNTRAINED_ENCODER):
        raise SepconError(
            f"unknown baseline {baseline!r}; known are {LOG_MEL_STATISTICS!r} and "
            f"{UNTRAINED_ENCODER!r}"
        )
    config = _reference_config(reference, paths)
    if baseline == LOG_MEL_STATISTICS:
        return [
            _Entry("log-mel statistics", seed, lambda: log_mel_statistics(config.log_mel))
            for seed in seeds
        ]
    return [
        _Entry(
            "untrained encoder",
            seed,
            lambda seed=seed: untrained_encoder(config, clips=train, seed=seed),  # type: ignore[misc]
        )
        for seed in seeds
    ]


def _reference_config(reference: str | Path | None, paths: Sequence[str | Path]) -> EncoderConfig:
    for path in paths if reference is None else [reference]:
        try:
            return load_reference_config(path)
        except SepconError:
            if reference is not None:
                raise
    raise SepconError(
        "the baselines need the front-end and architecture of an encoder of sepcon, and no model "
        "tells them: set `reference` to a pretraining run, or leave the baselines out"
    )


def _measure(
    entry: _Entry,
    embedded: Mapping[str, Embeddings],
    settings: tuple[ShallowSettings, ShallowSettings],
    num_classifiers: int,
    bootstrap_resamples: int,
) -> tuple[Row, list[Row]]:
    """Returns the row of results.json and the rows of per_class.csv."""
    train, test = embedded["train"], embedded["test"]
    seeds = _classifier_seeds(entry, num_classifiers)
    by_hidden, by_linear = ([_train(embedded, each, seed) for seed in seeds] for each in settings)
    predicted = np.stack([classifier.predict(test.embedding) for classifier in by_hidden])
    try:
        scores = [classification_scores(targets=test.labels, scores=each) for each in predicted]
        interval = bootstrap_interval(
            targets=test.labels, scores=predicted, num_resamples=bootstrap_resamples
        )
        linear = [
            classification_scores(targets=test.labels, scores=each.predict(test.embedding))
            for each in by_linear
        ]
    except ValueError as error:
        raise SepconError(f"{entry.name} cannot be scored: {one_line(error)}") from error
    row = {
        "name": entry.name,
        "seed": entry.seed,
        "mAP": _mean(each.mean_average_precision for each in scores),
        "mAP_low": interval.mean_average_precision[0],
        "mAP_high": interval.mean_average_precision[1],
        "d_prime": _mean(each.d_prime for each in scores),
        "d_prime_low": interval.d_prime[0],
        "d_prime_high": interval.d_prime[1],
        "AUC": _mean(each.auc for each in scores),
        # What choices are to be made by: the test is looked at when they are made.
        "validation_mAP": _mean(max(each.validation_mean_average_precision) for each in by_hidden),
        "linear_mAP": _mean(each.mean_average_precision for each in linear),
        "linear_d_prime": _mean(each.d_prime for each in linear),
        "mAP_deviation": float(np.std([each.mean_average_precision for each in scores])),
        "num_classifiers": num_classifiers,
        "num_train_clips": len(train.ids),
        "num_validation_clips": len(embedded["validation"].ids),
        "num_test_clips": len(test.ids),
        "num_classes": scores[0].num_classes_used,
        "classes_left_out": scores[0].num_classes_left_out,
        "epochs": _mean(each.best_epoch + 1 for each in by_hidden),
        "embedding_size": test.embedding.shape[1],
    }
    return row, _class_rows(entry, test, scores)


def _classifier_seeds(entry: _Entry, num_classifiers: int) -> list[int]:
    """Rows of one seed share them; no two seeds have one in common."""
    return [num_classifiers * entry.seed + k for k in range(num_classifiers)]


def _train(
    embedded: Mapping[str, Embeddings], settings: ShallowSettings, seed: int
) -> ShallowClassifier:
    return train_shallow_classifier(
        train=embedded["train"], validation=embedded["validation"], settings=settings, seed=seed
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _class_rows(
    entry: _Entry, test: Embeddings, scores: Sequence[ClassificationScores]
) -> list[Row]:
    """Means over the classifiers; a class that cannot be scored is NaN with all of them."""
    return [
        {
            "name": entry.name,
            "seed": entry.seed,
            "class": class_name,
            "positive_test_clips": int(test.labels[:, column].sum()),
            "average_precision": _mean(each.class_average_precision[column] for each in scores),
            "AUC": _mean(each.class_auc[column] for each in scores),
            "d_prime": _mean(each.class_d_prime[column] for each in scores),
        }
        for column, class_name in enumerate(test.class_names)
    ]
