"""What `sepcon benchmark` measures of encoders: a shallow classifier on frozen embeddings."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sepcon.data.clips import ClipDataset
from sepcon.embeddings.channels.attention import with_attention
from sepcon.embeddings.clip_probe import CLIP_PROBE, probe_clips
from sepcon.embeddings.embedder import ClipEmbedder
from sepcon.embeddings.embedders import (
    EMBEDDING_KINDS,
    Model,
    encoder_size,
    load_embedder,
    load_reference_config,
    log_mel_statistics,
    untrained_encoder,
)
from sepcon.embeddings.measure import Measurement, classifier_seeds, measure
from sepcon.embeddings.shallow import LINEAR_PROBE, ShallowSettings
from sepcon.embeddings.sources import EmbeddingSource
from sepcon.embeddings.splits import check_splits, embed_splits
from sepcon.errors import SepconError
from sepcon.models.encoder_files import EncoderConfig
from sepcon.models.products.channel_embedding import Channels
from sepcon.models.products.channel_pooling import ATTENTION
from sepcon.models.products.found_model import find_model
from sepcon.reports.results import (
    LOG_MEL_STATISTICS,
    UNTRAINED_ENCODER,
    Results,
    Row,
    write_csv,
)
from sepcon.runs.evaluated_clips import write_evaluated_clips

CLASSES_FILE = "per_class.csv"
# Before the roles of clean clips where embeddings are kept.
CLEAN_CLIPS_PREFIX = "clean_"

# What is learned from and what the score of a clip is.
CLIP_SCORES = ("mean_embedding", "mean_patch_score")


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One line of the table to be: a model and the seed of what is trained on it."""

    name: str
    seed: int
    load: Callable[[], ClipEmbedder]
    # Of the encoder, where attention over channels is to be learned of what it gives.
    attended_dim: int | None = None


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
    clip_score: str = "mean_embedding",
    clips_per_class: Sequence[int] = (),
    channels: Channels | None = None,
    on_start: Callable[[], object] = lambda: None,
) -> Results:
    """Embeds three splits with each model, trains a classifier on top, and tests it once.

    `validation` decides when training stops and which weight penalty is taken; `test` is used once
    per row, after that. The seed of a classifier alone can change a row by as much as the
    difference between two ways of pretraining, so several classifiers are trained on the same
    embeddings and all figures are means over them. Embeddings are kept under folder/embeddings;
    those that do not fit into memory are streamed from there, and a killed run goes on after the
    last finished shard. At the end per_class.csv (the class with most test clips first) and the ids
    of the tested clips are written (`evaluated_clips`).

    Args:
      folder: where to write.
      models: name in the table -> a model (SavedModel, run folder of `sepcon export` or `sepcon
        pretrain`, or embedder), or as many of them as there are seeds, one for each.
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
      num_classifiers: how many classifiers, and how many probes, are trained for each row, from
        different seeds.
      bootstrap_resamples: resamples of the test clips behind the 95 % intervals.
      batch_size: clips embedded at a time.
      shard_size: clips per file of embeddings.
      clip_score: "mean_embedding": a clip is the mean of its patches' embeddings, one example to
        learn from and one to score. "mean_patch_score": every patch is an example with the labels
        of its clip, and the score of a clip is the mean of its patches' scores, as is the
        convention on AudioSet; the disk needed grows with the number of patches of a clip.
      clips_per_class: also trains on subsets of so many labelled clips of each class, nested and
        drawn by the row's seed.
      channels: a separator: each model, which must be an encoder of sepcon, has a second row, in
        which it stands in front of it. Attention over its channels is learned anew for each row and
        for each number of labels.
      on_start: called when all checks have passed, before anything is written.

    Returns:
      The table, and the rows: name, seed, mAP, mAP_low, mAP_high, d_prime, d_prime_low,
      d_prime_high, AUC, AUC_low, AUC_high, lwlrap, lwlrap_low, lwlrap_high, validation_mAP,
      linear_mAP, linear_d_prime, mAP_deviation (between the classifiers), num_classifiers,
      retrieval_mAP and retrieval_chance (see `query_by_example`), for each k of `clips_per_class`
      mAP_at_k, d_prime_at_k and num_train_clips_at_k, clip_score, patches_per_clip, seconds,
      num_train_clips, num_validation_clips, num_test_clips, num_missing_test_clips,
      test_ids_sha256, num_classes, classes_left_out, epochs, embedding_size; and with clean clips
      what `sepcon.embeddings.clip_probe` says of them.

    Raises:
      SepconError: a model is missing or broken, the splits differ in their classes or share a
        clip, the models are not as many as the seeds, or the folder cannot be written.
      ValueError: num_classifiers is less than 1, clip_score is unknown, or clips_per_class holds
        something else than whole numbers above 0.
    """
    if num_classifiers < 1 or min(clips_per_class, default=1) < 1:
        raise ValueError(
            f"num_classifiers={num_classifiers} and clips_per_class={tuple(clips_per_class)} must "
            "be at least 1"
        )
    if clip_score not in CLIP_SCORES:
        raise ValueError(f"clip_score={clip_score!r} must be one of {', '.join(CLIP_SCORES)}")
    splits = {"train": train, "validation": validation, "test": test}
    for each in (splits, *([clean_clips] if clean_clips else [])):
        check_splits(each)
    entries = _entries(models, baselines, reference, seeds, train)
    if channels is not None:
        entries += _channel_entries(models, channels, seeds)
        _check_lengths(channels, clip_score, *splits.values())
    measurement = Measurement(
        classifier=classifier or ShallowSettings(),
        linear_probe=linear_probe or LINEAR_PROBE,
        num_classifiers=num_classifiers,
        bootstrap_resamples=bootstrap_resamples,
        clips_per_class=tuple(clips_per_class),
    )
    on_start()
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
            patches=clip_score == "mean_patch_score",
        )
        of_entry = dataclasses.replace(measurement, learned=_learned(entry))
        row, row_classes, ids = measure(of_entry, embed(splits), name=entry.name, seed=entry.seed)
        if clean_clips:
            row |= probe_clips(
                of_entry.prepared(embed(clean_clips, prefix=CLEAN_CLIPS_PREFIX), entry.seed),
                settings=clip_probe or CLIP_PROBE,
                seeds=classifier_seeds(entry.seed, num_classifiers),
                num_resamples=bootstrap_resamples,
            )
        tested = write_evaluated_clips(folder, ids=ids, left_out=test.left_out)
        seconds = round(time.monotonic() - start, 2)
        rows.append({**row, "clip_score": clip_score, **tested, "seconds": seconds})
        classes += row_classes
    write_csv(folder / CLASSES_FILE, classes)
    return Results(rows, _table(rows))


def _table(rows: Sequence[Row]) -> list[list[str]]:
    limits = [key for key in rows[0] if key.startswith("mAP_at_")]
    head = ["row", "seed", "mAP", "95 % interval", "d-prime", "95 % interval", "AUC", "lwlrap"]
    clean = all("clip_accuracy" in row for row in rows)
    head += ["linear mAP", "retrieval mAP", *[f"{key[7:]} a class" for key in limits]]
    head += ["clean clips", "95 % interval", "s"] if clean else ["s"]
    cells = [
        [
            str(row["name"]),
            str(row["seed"]),
            f"{row['mAP']:.3f}",
            f"{row['mAP_low']:.3f} to {row['mAP_high']:.3f}",
            f"{row['d_prime']:.2f}",
            f"{row['d_prime_low']:.2f} to {row['d_prime_high']:.2f}",
            f"{row['AUC']:.3f}",
            f"{row['lwlrap']:.3f}",
            f"{row['linear_mAP']:.3f}",
            "" if row["retrieval_mAP"] is None else f"{row['retrieval_mAP']:.3f}",
            *[f"{row[key]:.3f}" for key in limits],
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
    paths = [m for given in per_seed.values() for m in given if isinstance(m, str | Path)]
    for path in paths:
        find_model(path, *EMBEDDING_KINDS)  # A wrong path is told now, not after an hour.
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


def _channel_entries(
    models: Mapping[str, Model | Sequence[Model]], channels: Channels, seeds: Sequence[int]
) -> list[_Entry]:
    """The further row of each model, with a separator in front of it."""
    find_model(channels.separator, "separator", run_first=True)  # Told now, as for models.
    return [
        _channel_entry(f"{name}, with channels", model, channels, seed)
        for name, given in models.items()
        for model, seed in zip(_one_per_seed(name, given, seeds), seeds, strict=True)
    ]


def _channel_entry(name: str, model: Model, channels: Channels, seed: int) -> _Entry:
    if not isinstance(model, str | Path):
        raise SepconError(
            f"row {name!r}: a separator is put in front of encoders of sepcon alone, given by "
            "their path; leave channels out"
        )
    dim = encoder_size(model)
    attended_dim = dim if channels.pooling == ATTENTION else None
    return _Entry(name, seed, lambda: load_embedder(model, channels), attended_dim)


def _learned(
    entry: _Entry,
) -> Callable[[dict[str, EmbeddingSource], int], dict[str, EmbeddingSource]] | None:
    dim = entry.attended_dim
    if dim is None:
        return None
    return lambda embedded, seed: with_attention(embedded, dim=dim, seed=seed)


def _check_lengths(channels: Channels, clip_score: str, *splits: ClipDataset) -> None:
    """Tells before all work what `load_embedder` would tell of a clip that is too long."""
    if channels.pooling == ATTENTION and clip_score == "mean_embedding":
        for clips in splits:
            if clips.clip_samples is not None:
                channels.check_one_window(clips.clip_samples / clips.sample_rate_hz, clips.name)


def _one_per_seed(
    name: str, given: Model | Sequence[Model], seeds: Sequence[int]
) -> Sequence[Model]:
    if isinstance(given, str | Path) or not isinstance(given, Sequence):
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
