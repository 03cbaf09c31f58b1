"""`sepcon pretrain`: an encoder learns from examples, by default from mixtures of sound."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import keras

from sepcon.data.examples import Examples
from sepcon.data.stream import TrainingStream
from sepcon.embeddings.training_probe import TrainingProbe
from sepcon.models.products.saved_model import SAVED_MODEL_FOLDER
from sepcon.models.products.write import has_saved_model, write_saved_model
from sepcon.models.weights import state_folder, write_weights
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.tasks.batch_views import BatchViews, recalibrate
from sepcon.tasks.label_scores import LabelScores
from sepcon.tasks.objective import Objective
from sepcon.training.checkpoints import steps_done
from sepcon.training.distribution import is_chief, make_strategy, wait_for_chief
from sepcon.training.loop import FitResult, fit
from sepcon.training.runtime import make_reproducible
from sepcon.verbs import resuming


@claims_run_dir
def pretrain(
    *,
    run_dir: str | Path,
    examples: Examples,
    views: BatchViews,
    encoder: Callable[..., keras.Model],
    objective: Objective,
    optimizer: Callable[[], keras.optimizers.Optimizer],
    batch_size: int,
    num_steps: int,
    recalibration_batches: int = 50,
    probe: TrainingProbe | LabelScores | None = None,
    shuffle_buffer: int | None = None,
    loop: Callable[..., FitResult] = fit,
    strategy: str = "default",
    seed: int = 0,
    deterministic: bool | None = None,
    config_text: str = "",
) -> Path | None:
    """Pretrains an encoder and exports it; a stopped run goes on from the step where it was.

    What examples are, how an encoder sees them and what it learns are bound in gin: by default
    clips, pairs of log-mel patches, and the two objectives of Fonseca et al., 2021.

    Args:
      run_dir: receives everything; the encoder's weights stand under states/, its SavedModel in
        saved_model/.
      examples: what is learned from, such as `ClipExamples`.
      views: makes the views of a batch, such as `LogMelViews`.
      encoder: makes the encoder, given what `views` say of its input.
      objective: what is learned, such as `SimilarityAndCoincidence` or `supervised`.
      optimizer: makes the optimizer.
      batch_size: examples in the global batch.
      num_steps: training steps.
      recalibration_batches: batches of views without augmentation on which the statistics of batch
        normalisation are computed anew at the end; 0 keeps those of the training.
      probe: says while training what embeddings tell of labels, or how well labels are learned, in
        the log and in TensorBoard.
      shuffle_buffer: see `TrainingStream`.
      loop: the training loop.
      strategy: `default`, `mirrored`, `multi_worker` or `tpu`.
      seed: of weights, order, crops and augmentations.
      deterministic: whether a resumed run is the same to the bit, not in its data alone; None is
        yes on a CPU and no on accelerators, where some operations are slower so. Kept in run.json.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The SavedModel folder; None for a worker that is not the first of several, or where no
      SavedModel of such an encoder is defined.

    Raises:
      Interrupted: a signal stopped the run; the same call goes on.
      SepconError: an argument, a file or the disk is not as it must be; what was saved stays.
    """
    folder = Path(run_dir)
    done = steps_done(folder)
    if not resuming.begin(
        "pretrain",
        folder,
        config_text=config_text,
        under_way=done > 0,
        steps=num_steps,
        steps_done=done,
    ):
        return folder / SAVED_MODEL_FOLDER if has_saved_model(folder) else None
    scope = make_strategy(strategy)
    with scope.scope():
        views = views.opened(examples)
        # Not before: loading takes seeds too, and weights shall be those with stored channels.
        deterministic = make_reproducible(seed, deterministic=deterministic)
        network = encoder(**views.encoder_arguments)
        task = objective.task(encoder=network, views=views, examples=examples)
        chosen_optimizer = optimizer()
    stream = TrainingStream(
        examples=views.drawn_from(examples),
        batch_size=batch_size,
        seed=seed,
        num_uniforms=task.num_uniforms,
        shuffle_buffer=shuffle_buffer,
    )

    def on_start() -> None:
        views.save_description(folder, network)
        resuming.keep_configuration("pretrain", folder, config_text, under_way=done > 0)

    result = loop(
        task=task,
        stream=stream,
        optimizer=chosen_optimizer,
        num_steps=num_steps,
        run_dir=folder,
        strategy=scope,
        config_text=config_text,
        description=f"pretraining on {examples.name}",
        on_start=on_start,
        validate=probe.validation(task, views) if probe else None,
        validate_every_steps=probe.every_steps if probe else None,
    )
    if not is_chief(scope):
        wait_for_chief(scope)
        return None
    if recalibration_batches:
        plain = dataclasses.replace(stream, examples=views.drawn_from(examples, plain=True))
        recalibrate(network, views, plain.batches(num_steps).take(recalibration_batches))
        write_weights(network, state_folder(folder, num_steps))
    saved_model = _saved_model(folder, config_text)
    record = {"steps": result.step, "seconds": result.seconds, "deterministic": deterministic}
    run_folder.finish(folder, record)
    wait_for_chief(scope)
    return saved_model


def _saved_model(folder: Path, config_text: str) -> Path | None:
    """Writes the SavedModel of a trained encoder, or says that there is none of its kind."""
    if has_saved_model(folder):
        return write_saved_model(run_dir=folder, model=folder, config_text=config_text)
    print(
        f"sepcon: {folder}: no SavedModel is defined for this kind of encoder; its weights are "
        "under states/, its description is model.json",
        file=sys.stderr,
    )
    return None
