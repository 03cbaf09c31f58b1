"""What `sepcon benchmark` measures of channels at inference: views beside their mixture."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sepcon.data.clips import ClipDataset, subset, with_sources
from sepcon.embeddings.channels.attention import AttentionSettings
from sepcon.embeddings.splits import check_splits
from sepcon.errors import SepconError
from sepcon.inference.channel_benchmark.embedded_scenes import EmbeddedScenes, embed_scenes
from sepcon.inference.channel_benchmark.measure import (
    ROLES,
    ChannelMeasurement,
    RowMeasurement,
)
from sepcon.inference.channel_benchmark.scene_views import Patches, SceneViews
from sepcon.models.encoder_files import LoadedEncoder, load_encoder
from sepcon.models.fingerprint import digest
from sepcon.models.products.channel_pooling import POOLINGS, check_pooling
from sepcon.models.products.networks import open_separator
from sepcon.models.products.separation import separator_fingerprint
from sepcon.models.separator.network import Separator
from sepcon.reports.results import Results, Row
from sepcon.runs.progress import Progress
from sepcon.separation.control_kinds import MIXTURE_ALONE, RANDOM_FEATURES, view_kinds

EMBEDDINGS_FOLDER = "embeddings"


def benchmark_channels(
    folder: Path,
    *,
    encoders: Mapping[str, str | Path],
    separator: str | Path,
    states: Mapping[str, int | None],
    reference: str = "trained separator",
    train: ClipDataset,
    validation: ClipDataset,
    test: ClipDataset,
    seed: int = 0,
    max_train: int = 2000,
    max_validation: int = 500,
    max_test: int = 1200,
    hop_seconds: float | None = None,
    poolings: Sequence[str] = POOLINGS,
    shares: Sequence[float] = (0.001, 0.01, 0.1),
    penalties: Sequence[float] = (0.01, 0.1, 1.0, 10.0),
    clips_per_class: int = 10,
    attention: AttentionSettings | None = None,
    shard_size: int = 200,
    batch_size: int = 8,
    on_start: Callable[[], object] = lambda: None,
) -> Results:
    """Measures what views of scenes add to the embeddings of their mixtures.

    Views are the channels of each state of a separator, random masks with the energies of the
    `reference` state, as many random filters of the mixture, and the true sources. Each kind is
    pooled beside the mixture's embedding (see `sepcon.models.products.channel_pooling`), and
    classes are told by a linear classifier, exact least squares with a penalty. Pooling, share of
    energy and penalty are chosen by validation scenes. Beside them stand the mixture alone, and the
    mixture with as many random features of itself.

    Embeddings are kept under folder/embeddings until all rows are measured, so that a killed run
    goes on. They take two bytes for each number.

    Args:
      folder: where to write.
      encoders: name -> run folder of `sepcon pretrain`; all of one front-end and patch length.
      separator: run folder of `sepcon train_separator`.
      states: name -> step of the separator, None for the last.
      reference: the state whose energies the controls have.
      train: scenes that classifiers learn from, with labels and sources, of one length.
      validation: scenes that choose.
      test: scenes that are scored.
      seed: of masks, filters, attention, and of which scenes are labelled where few are.
      max_train: how many of the first are taken at most.
      max_validation: the same of validation.
      max_test: the same of the test.
      hop_seconds: time between patches, half a patch by default.
      poolings: to choose from.
      shares: of the energy of the loudest view, to choose from.
      penalties: of the classifier, to choose from.
      clips_per_class: few labels.
      attention: how it is learned.
      shard_size: scenes in a file of embeddings.
      batch_size: scenes separated at a time.
      on_start: called when all checks have passed, before anything is written.

    Returns:
      The table, and the rows: name ('ENCODER, KIND'), seed, mAP, validation_mAP, mAP_few,
      mAP_sources_1 to mAP_sources_4 (of test scenes with as many sources), mAP_same_size (with the
      principal components of the features, as many as the mixture has), mAP_POOLING, what was
      chosen, and the counts of everything.

    Raises:
      SepconError: a model is missing, the encoders or rates differ, scenes have no sources or
        several lengths, or the folder cannot be written.
    """
    for pooling in poolings:
        for share in shares:
            check_pooling(pooling, share)
    if reference not in states:
        raise SepconError(
            f"benchmark_channels.reference is {reference!r}, expected one of {', '.join(states)}"
        )
    splits = {
        role: subset(clips, num_clips=min(most, clips.num_clips))
        for role, clips, most in zip(
            ROLES, (train, validation, test), (max_train, max_validation, max_test), strict=True
        )
    }
    check_splits(splits)
    loaded = {name: load_encoder(path) for name, path in encoders.items()}
    separators = {name: open_separator(separator, step).network for name, step in states.items()}
    views = _views(loaded, separators, reference, splits, min(shares), seed, hop_seconds)
    measurement = ChannelMeasurement(
        poolings, shares, penalties, clips_per_class, attention or AttentionSettings()
    )
    on_start()
    scenes = _embedded(folder, splits, views, loaded, shard_size, batch_size)
    rows = _rows(measurement, scenes, view_kinds(list(states)), list(encoders), seed)
    # What is measured is in the rows.
    shutil.rmtree(folder / EMBEDDINGS_FOLDER, ignore_errors=True)
    return Results(rows, _table(rows))


def _views(
    encoders: Mapping[str, LoadedEncoder],
    separators: Mapping[str, Separator],
    reference: str,
    splits: Mapping[str, ClipDataset],
    lowest_share: float,
    seed: int,
    hop_seconds: float | None,
) -> SceneViews:
    """Checks that all fits together."""
    seen = {(repr(each.log_mel), each.patch_seconds) for each in encoders.values()}
    if len(seen) != 1:
        raise SepconError(
            f"the encoders {', '.join(encoders)} differ in their front-end or in the length of "
            "their patches; measure them one by one"
        )
    first = next(iter(encoders.values()))
    rate = first.log_mel.sample_rate_hz
    lengths = {clips.clip_samples for clips in splits.values()}
    rates = {clips.sample_rate_hz for clips in splits.values()}
    rates |= {each.config.sample_rate_hz for each in separators.values()}
    if rates != {rate} or len(lengths) != 1 or None in lengths:
        raise SepconError(
            f"scenes must have one length, and their rate be that of separator and encoder, "
            f"{rate} Hz; got rates {sorted(rates)}, lengths {sorted(map(str, lengths))}"
        )
    for clips in splits.values():
        with_sources(clips)
    (samples,) = lengths
    assert samples is not None
    patch = first.patch_seconds
    hop = patch / 2 if hop_seconds is None else hop_seconds
    patches = Patches.of_clips(samples, first.log_mel, patch_seconds=patch, hop_seconds=hop)
    return SceneViews(separators, reference, first.log_mel, patches, lowest_share, seed)


def _embedded(
    folder: Path,
    splits: Mapping[str, ClipDataset],
    views: SceneViews,
    encoders: Mapping[str, LoadedEncoder],
    shard_size: int,
    batch_size: int,
) -> dict[str, EmbeddedScenes]:
    """Embeds the splits, in a folder of what decides the numbers."""
    weights = [
        variable.numpy().tobytes()
        for each in encoders.values()
        for variable in each.encoder.variables
    ]
    decides = (views.patches, views.lowest_share, views.seed, views.reference, shard_size)
    mark = digest(
        repr(decides),
        repr(list(views.separators)),
        *[separator_fingerprint(each) for each in views.separators.values()],
        *[each.config.to_json() for each in encoders.values()],
        *weights,
    )
    networks = {name: each.encoder for name, each in encoders.items()}
    return {
        role: embed_scenes(
            folder
            / EMBEDDINGS_FOLDER
            / f"{digest(mark, clips.name, clips.digest, str(clips.num_clips))[:16]}-{role}",
            clips,
            views,
            networks,
            title=f"[{number}/{len(splits)}] embed scenes and their views: {role}",
            shard_size=shard_size,
            batch_size=batch_size,
        )
        for number, (role, clips) in enumerate(splits.items(), start=1)
    }


def _rows(
    measurement: ChannelMeasurement,
    scenes: Mapping[str, EmbeddedScenes],
    kinds: Sequence[str],
    encoders: Sequence[str],
    seed: int,
) -> list[Row]:
    rows: list[Row] = []
    with Progress(len(encoders) * len(kinds), "measure", unit="row") as progress:
        for encoder in encoders:
            of_encoder = RowMeasurement(measurement, scenes, encoder, seed)
            for name in kinds:
                start = time.monotonic()
                row = _measured(of_encoder, name)
                seconds = round(time.monotonic() - start, 2)
                rows.append({"name": f"{encoder}, {name}", "seed": seed, **row, "seconds": seconds})
                progress.advance()
    return rows


def _measured(of_encoder: RowMeasurement, name: str) -> Row:
    if name == MIXTURE_ALONE:
        return of_encoder.alone()
    if name == RANDOM_FEATURES:
        return of_encoder.with_random_features()
    return of_encoder.with_views(name)


def _table(rows: Sequence[Row]) -> list[list[str]]:
    heads = ["row", "seed", "mAP", "few labels", *[f"{n} sources" for n in range(1, 5)]]
    keys = ["mAP", "mAP_few", *[f"mAP_sources_{n}" for n in range(1, 5)]]
    cells = [
        [
            str(row["name"]),
            str(row["seed"]),
            *["" if row[key] is None else f"{row[key]:.3f}" for key in keys],
            row["pooling"],
        ]
        for row in rows
    ]
    return [[*heads, "pooling"], *cells]
