"""`sepcon finetune`: trains classifiers of labelled clips by cross-validation."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from sepcon.data.clip_examples import ClipExamples
from sepcon.data.folds import FoldedClips, split_fold
from sepcon.errors import SepconError
from sepcon.finetuning.fold import FoldRun, Recipe
from sepcon.finetuning.linear import LinearEvaluation, checked_scores
from sepcon.finetuning.page import fold_table, seed_ensemble, summary, write_finetune_report
from sepcon.finetuning.start import open_start
from sepcon.reports.comparison import align, markdown
from sepcon.reports.page import require_libraries
from sepcon.reports.results import RESULTS_FILE, Row, write_csv
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.names import path_inside
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.supervised import SupervisedObjective
from sepcon.training.distribution import make_strategy, wait_for_chief
from sepcon.training.loop import FitResult, fit
from sepcon.training.schedules import Schedule
from sepcon.verbs import resuming

CSV_FILE = "folds.csv"
TABLE_FILE = "table.md"


@claims_run_dir
def finetune(
    *,
    run_dir: str | Path,
    clips: FoldedClips,
    encoder: Callable[..., keras.Model],
    views: LogMelViews,
    objective: SupervisedObjective,
    optimizer: Callable[..., keras.optimizers.Optimizer],
    learning_rate: Callable[..., Schedule],
    batch_size: int,
    epochs: int,
    start: str | Path = "",
    clip_seconds: float | None = None,
    classifier_learning_rate: Callable[..., Schedule] | None = None,
    classifier_epochs: int | None = None,
    folds: Sequence[int | str] = (),
    max_folds: int | None = None,
    seeds: Sequence[int] = (0,),
    validation_share: float = 0.2,
    validate_every_epochs: int = 1,
    labels_per_class: int | None = None,
    linear: LinearEvaluation | None = None,
    loop: Callable[..., FitResult] = fit,
    strategy: str = "default",
    deterministic: bool | None = None,
    config_text: str = "",
) -> Row:
    """Trains a classifier for every test fold and seed, and says how well it does.

    After SoundCLR (Nasiri and Hu, 2021). With objective.contrastive_weight of 1 training has two
    stages: the encoder by the contrastive loss, then a linear layer on the frozen encoder.

    Each training is looked at every few epochs, and two ways of choosing the epoch are reported
    side by side: by clips held out of the training folds (what is to be quoted), and by the test
    fold itself, as the authors' code does (optimistic). Folds and seeds that are finished are not
    done again, so a stopped command goes on, and seeds can be added later.

    Writes seed<n>/fold<m>/ (a run each, which `sepcon export` and `sepcon classify` take),
    results.json, folds.csv, table.md and report.html.

    Args:
      run_dir: receives everything.
      clips: labelled clips in folds.
      encoder: makes the encoder, given `num_frames` and `num_mels`.
      views: cuts the patches, those of the mixture alone, and augments them.
      objective: what is learned.
      optimizer: makes the optimizer, given `learning_rate`.
      learning_rate: makes the schedule, given `steps_per_epoch`.
      batch_size: clips in the global batch.
      epochs: through the training clips; an epoch has as many steps with few labels as with all.
      start: a run of `sepcon pretrain` (or a fold's `contrastive` folder) whose encoder and
        front-end are taken, of an encoder of images the encoder alone; none starts with what
        `encoder` makes.
      clip_seconds: what is read of each clip, the rest is cut off; needed where clips differ in
        length.
      classifier_learning_rate: that of the second stage, `learning_rate` by default.
      classifier_epochs: of the second stage, `epochs` by default.
      folds: test folds; all by default.
      max_folds: takes only the first so many of them, for a smoke test.
      seeds: of weights, order, augmentations and of what is held out.
      validation_share: of each class's clips in the training folds, held out by original recording.
      validate_every_epochs: how often the weights are looked at.
      labels_per_class: clips of each class to learn from; all by default. Validation stays whole.
      linear: measures the start, frozen, by a linear classifier in place of training it; then what
        is said of objective, optimizer, rates and epochs has no effect.
      loop: the training loop.
      strategy: `default`, `mirrored`, `multi_worker` or `tpu`.
      deterministic: whether a resumed run is the same to the bit, not in its data alone; None is
        yes on a CPU and no on accelerators, where some operations are slower so. Kept in run.json.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The content of results.json.

    Raises:
      Interrupted: a signal stopped the run; the same call goes on.
      SepconError: an argument, a file or the disk is not as it must be; what was saved stays.
    """
    root = Path(run_dir)
    if views.sampler.needs_channels:
        raise SepconError("finetune.views need separated channels; take views/mixture_mixture.gin")
    require_libraries()
    if linear is not None and linear.of_scores:
        checked_scores(clips)
    settings: dict[str, Any] = {
        "verb": "finetune",
        "run_dir": root,
        "config_text": config_text,
    }
    begun, ended = _begun(root), any(root.glob("seed*/fold*/run.json"))
    resuming.check(**settings, under_way=begun, finished=ended)

    @functools.cache
    def keep_configuration() -> None:
        resuming.keep_configuration(**settings, under_way=begun or ended)

    opened = open_start(start, encoder=encoder, views=views)
    views = opened.views
    # What is wrong with the clips or the views is told before the first training.
    views.opened(ClipExamples(clips.clips, clip_seconds))
    recipe = Recipe(
        encoder=encoder,
        views=views,
        objective=objective,
        optimizer=optimizer,
        learning_rate=learning_rate,
        classifier_learning_rate=classifier_learning_rate or learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        classifier_epochs=classifier_epochs or epochs,
        validate_every_epochs=validate_every_epochs,
        start=opened.encoder,
        clip_seconds=clip_seconds,
        loop=loop,
        strategy=make_strategy(strategy),
        deterministic=deterministic,
        config_text=config_text,
        on_start=keep_configuration,
        linear=linear,
    )
    if max_folds is not None and max_folds < 1:
        raise SepconError(f"finetune.max_folds: got {max_folds}, expected 1 or more, or None")
    chosen = (tuple(str(fold) for fold in folds) or clips.fold_names)[:max_folds]
    runs = _runs(
        root,
        recipe,
        clips,
        folds=chosen,
        seeds=tuple(seeds),
        validation_share=validation_share,
        labels_per_class=labels_per_class,
    )
    rows: list[Row] = []
    for run in runs:
        record = run.train()
        rows.append({**record, "folder": str(run.folder.relative_to(root))})
    keep_configuration()
    results = _conclude(root, rows, clips, config_text)
    wait_for_chief(recipe.strategy)
    return results


def _begun(root: Path) -> bool:
    """Whether a step of any training is saved."""
    return any(root.glob("seed*/fold*/**/checkpoints/step-*.npz"))


def _runs(
    root: Path,
    recipe: Recipe,
    folded: FoldedClips,
    *,
    folds: Sequence[str],
    seeds: Sequence[int],
    validation_share: float,
    labels_per_class: int | None,
) -> list[FoldRun]:
    """All trainings; whatever is wrong with a split is told before the first begins."""
    runs: list[FoldRun] = []
    if not folds or not seeds:
        raise SepconError("finetune.folds and finetune.seeds must name at least one each")
    total = len(folds) * len(seeds)
    for seed in seeds:
        for fold in folds:
            whole = split_fold(folded, fold, validation_share=validation_share, seed=seed)
            limited = split_fold(
                folded,
                fold,
                validation_share=validation_share,
                seed=seed,
                labels_per_class=labels_per_class,
            )
            runs.append(
                FoldRun(
                    recipe=recipe,
                    folded=folded,
                    fold=fold,
                    split=limited,
                    steps_per_epoch=-(-len(whole.train) // recipe.batch_size),
                    seed=seed,
                    folder=path_inside(
                        root, f"seed{seed}/fold{fold}", source=Path(folded.clips.name)
                    ),
                    title=f"[{len(runs) + 1}/{total}] test fold {fold}, seed {seed}",
                )
            )
    return runs


def _conclude(root: Path, rows: list[Row], clips: FoldedClips, config_text: str) -> Row:
    """Writes what all trainings say together."""
    found = {**summary(rows), **seed_ensemble(root, rows)}
    results = {
        "clips": clips.clips.name,
        "class_names": list(clips.clips.class_names),
        "summary": found,
        "rows": rows,
    }
    write_csv(root / CSV_FILE, rows)
    table = fold_table(rows, found)
    run_folder.write_text(root / TABLE_FILE, markdown(table))
    write_finetune_report(root, results, config_text=config_text)
    run_folder.write_text(root / RESULTS_FILE, json.dumps(results, indent=1) + "\n")
    seconds = sum(row["seconds"] for row in rows)
    run_folder.finish(root, {"trainings": len(rows), "seconds": round(seconds, 1)})
    print(align(table))
    print(f"sepcon: {root / RESULTS_FILE}, {root / 'report.html'}")
    return results
