"""Trains a classifier for one test fold and seed, and keeps what two ways of choosing choose."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import select, to_float
from sepcon.data.folds import FoldedClips, FoldSplit
from sepcon.data.stream import TrainingStream
from sepcon.finetuning.clip_batches import clip_batches
from sepcon.finetuning.linear import LinearEvaluation, embed_clips, fit_each, scored_clips
from sepcon.finetuning.predictions import Predictions
from sepcon.finetuning.selection import OPTIMISTIC_FILE, SELECTED_FILE, Selection
from sepcon.models.classifier import Classifier, describe, save_classifier_config
from sepcon.models.encoder_files import load_encoder
from sepcon.models.encoders import with_frames
from sepcon.models.products.classification import ClassificationModel
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.patch_embedder import PatchEmbedder
from sepcon.runs import run_folder
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.supervised import SupervisedObjective, SupervisedTask
from sepcon.training.distribution import is_chief
from sepcon.training.dry_loop import DryLoop
from sepcon.training.logs import RunLog, read_metric
from sepcon.training.loop import FitResult
from sepcon.training.runtime import make_reproducible
from sepcon.training.schedules import Schedule

CONTRASTIVE_FOLDER = "contrastive"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that folds and seeds have in common; see `sepcon.verbs.finetune.finetune`."""

    encoder: Callable[..., keras.Model]
    views: LogMelViews
    objective: SupervisedObjective
    optimizer: Callable[..., keras.optimizers.Optimizer]
    learning_rate: Callable[..., Schedule]
    classifier_learning_rate: Callable[..., Schedule]
    batch_size: int
    epochs: int
    classifier_epochs: int
    validate_every_epochs: int
    start: keras.Model | None
    clip_seconds: float | None
    loop: Callable[..., FitResult]
    strategy: tf.distribute.Strategy
    deterministic: bool | None
    config_text: str
    on_start: Callable[[], object] = lambda: None
    linear: LinearEvaluation | None = None


@dataclasses.dataclass(frozen=True)
class FoldRun:
    """One training of a recipe.

    Attributes:
      recipe: how.
      folded: on what.
      fold: the test fold.
      split: its clips.
      steps_per_epoch: what an epoch is, the same for any number of labels.
      seed: of weights, order and augmentations.
      folder: receives everything.
      title: what the progress bar says.
    """

    recipe: Recipe
    folded: FoldedClips
    fold: str
    split: FoldSplit
    steps_per_epoch: int
    seed: int
    folder: Path
    title: str

    def train(self) -> Mapping[str, Any]:
        """Trains and chooses; what is finished is not done again.

        Returns:
          what the run says of itself, see `_record`.

        Raises:
          Interrupted: a signal stopped it; what was saved stays.
        """
        if run_folder.is_finished(self.folder):
            return run_folder.read_record(self.folder)
        keras.backend.clear_session()
        deterministic = make_reproducible(self.seed, deterministic=self.recipe.deterministic)
        objective, encoder, seconds = self.recipe.objective, self._new_encoder, 0.0
        if objective.contrastive_weight == 1:
            first = self._train_contrastive()
            seconds = first.seconds
            objective = dataclasses.replace(
                objective, contrastive_weight=0.0, num_views=1, frozen_encoder=True
            )
            encoder = self._contrastive_encoder
        # A dry run looks at clips, views and encoder as before a training, and fits nothing.
        if self.recipe.linear is not None and not isinstance(self.recipe.loop, DryLoop):
            record = self._evaluate_linear(self.recipe.linear)
        else:
            result = self._train_classifier(objective, encoder)
            record = self._record(result.seconds + seconds)
        record |= {"deterministic": deterministic}
        if is_chief(self.recipe.strategy):
            for folder in (self.folder, self.folder / CONTRASTIVE_FOLDER):
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            run_folder.finish(self.folder, record)
            return run_folder.read_record(self.folder)  # As a later start will find it.
        return record

    def _train_contrastive(self) -> FitResult:
        """The first stage of two: the encoder by the contrastive loss alone."""
        recipe, folder = self.recipe, self.folder / CONTRASTIVE_FOLDER
        with recipe.strategy.scope():
            task = self._task(recipe.objective, self._new_encoder(), keep_classifier=False)
            optimizer = self._optimizer(recipe.learning_rate)
        recipe.views.save_description(folder, task.product)
        return self._fit(task, folder, optimizer, recipe.epochs, f"{self.title}, contrastive")

    def _train_classifier(
        self, objective: SupervisedObjective, encoder: Callable[[], keras.Model]
    ) -> FitResult:
        recipe = self.recipe
        second_stage = objective.frozen_encoder and recipe.objective.contrastive_weight == 1
        schedule = recipe.classifier_learning_rate if second_stage else recipe.learning_rate
        with recipe.strategy.scope():
            task = self._task(objective, encoder(), keep_classifier=True)
            optimizer = self._optimizer(schedule)
            selection = self._trained_selection(task.classifier, optimizer)
        epochs = recipe.classifier_epochs if second_stage else recipe.epochs
        return self._fit(task, self.folder, optimizer, epochs, self.title, selection)

    def _optimizer(self, schedule: Callable[..., Schedule]) -> keras.optimizers.Optimizer:
        rate = schedule(steps_per_epoch=self.steps_per_epoch)
        return self.recipe.optimizer(learning_rate=rate)

    def _trained_selection(
        self, classifier: Classifier, optimizer: keras.optimizers.Optimizer
    ) -> Selection:
        """Chooses among the states of a classifier that is being trained."""
        clips, views = self.folded.clips, self.recipe.views
        seconds = views.sampler.patch_seconds
        # Told before the training; the graph is made outside of the strategy's scope, as its calls.
        PatchEmbedder(classifier.encoder, views.log_mel, patch_seconds=seconds)
        module = functools.cache(
            lambda: ClassificationModel(
                classifier, views.log_mel, patch_seconds=seconds, class_names=clips.class_names
            )
        )
        return self._selection(
            classifier,
            step=lambda: int(optimizer.iterations.numpy()),
            predict={
                role: lambda positions=positions: predict(  # type: ignore[misc]
                    module(), self.folded, positions, self._clip_samples
                )
                for role, positions in (
                    ("validation", self.split.validation),
                    ("test", self.split.test),
                )
            },
        )

    def _selection(
        self,
        classifier: Classifier | None,
        *,
        step: Callable[[], int],
        predict: Mapping[str, Callable[[], Predictions]],
    ) -> Selection:
        views = self.recipe.views
        if classifier is not None:
            config = describe(
                classifier,
                log_mel=views.log_mel,
                patch_seconds=views.sampler.patch_seconds,
                class_names=self.folded.clips.class_names,
            )
            save_classifier_config(self.folder, config)
        return Selection(folder=self.folder, classifier=classifier, step=step, predict=predict)

    def _evaluate_linear(self, evaluation: LinearEvaluation) -> dict[str, Any]:
        """Fits linear classifiers on the frozen encoder or a tagger's scores; returns the row."""
        started, class_names = time.perf_counter(), self._class_names
        parts = (self.split.train, self.split.validation, self.split.test)
        classifier: Classifier | None = None  # There is none that takes sound, of scores.
        if evaluation.of_scores:
            embedded = [scored_clips(self.folded, positions) for positions in parts]
        else:
            classifier = Classifier(
                encoder=self._new_encoder(), num_classes=len(class_names), normalize=False
            )
            module = self._frozen(evaluation, classifier.encoder)
            embedded = [
                embed_clips(module, self.folded, positions, self._clip_samples)
                for positions in parts
            ]
        train, validation, test = embedded
        if is_chief(self.recipe.strategy):
            self.recipe.on_start()
        log = RunLog(self.folder, config_text=self.recipe.config_text)
        for number, fitted in enumerate(fit_each(evaluation, train, len(class_names)), start=1):
            if classifier is not None:
                classifier.head.set_weights([fitted.kernel, fitted.bias])
            selection = self._selection(
                classifier,
                step=lambda number=number: number,  # type: ignore[misc]
                predict={
                    role: lambda clips=clips, fitted=fitted: clips.predictions(fitted)  # type: ignore[misc]
                    for role, clips in (("validation", validation), ("test", test))
                },
            )
            log.metrics(number, {f"validation/{name}": v for name, v in selection().items()})
        log.close()
        chosen = Predictions.load(self.folder / SELECTED_FILE).step
        return {
            **self._record(time.perf_counter() - started),
            # Nothing was trained by epochs; what was chosen is the penalty.
            "epoch": 0,
            "optimistic_epoch": 0,
            "penalty": evaluation.penalties[chosen - 1],
            **({} if evaluation.of_scores else {"statistics": evaluation.statistics}),
        }

    def _frozen(self, evaluation: LinearEvaluation, encoder: keras.Model) -> EmbeddingModel:
        """The encoder as it is measured, with the statistics that it shall have."""
        views = self.recipe.views
        plain = tf.function(views.plain, autograph=False)
        batches = self._stream(views.num_uniforms, plain=True).batches(0).take(self.steps_per_epoch)
        evaluation.take_statistics(encoder, map(plain, batches))
        return EmbeddingModel(encoder, views.log_mel, patch_seconds=views.sampler.patch_seconds)

    @property
    def _class_names(self) -> Sequence[str]:
        return self.folded.clips.class_names

    @property
    def _clip_samples(self) -> int:
        return ClipExamples(self.folded.clips, self.recipe.clip_seconds).clip_samples

    def _stream(self, num_uniforms: int, *, plain: bool = False) -> TrainingStream:
        """The training clips of the fold."""
        clips = self.folded.clips
        learned = select(clips, self.split.train, name=f"{clips.name} without fold {self.fold}")
        return TrainingStream(
            examples=self.recipe.views.drawn_from(
                ClipExamples(learned, self.recipe.clip_seconds), plain=plain
            ),
            batch_size=self.recipe.batch_size,
            seed=self.seed,
            num_uniforms=num_uniforms,
        )

    def _fit(
        self,
        task: SupervisedTask,
        folder: Path,
        optimizer: keras.optimizers.Optimizer,
        epochs: int,
        title: str,
        selection: Selection | None = None,
    ) -> FitResult:
        recipe = self.recipe
        return recipe.loop(
            task=task,
            stream=self._stream(task.num_uniforms),
            optimizer=optimizer,
            num_steps=epochs * self.steps_per_epoch,
            run_dir=folder,
            strategy=recipe.strategy,
            validate=selection,
            validate_every_steps=recipe.validate_every_epochs * self.steps_per_epoch,
            config_text=recipe.config_text,
            description=title,
            on_start=recipe.on_start,
        )

    def _task(
        self, objective: SupervisedObjective, encoder: keras.Model, *, keep_classifier: bool
    ) -> SupervisedTask:
        return SupervisedTask(
            encoder=encoder,
            views=self.recipe.views,
            num_classes=len(self._class_names),
            objective=objective,
            keep_classifier=keep_classifier,
        )

    def _new_encoder(self) -> keras.Model:
        recipe, shape = self.recipe, self.recipe.views.encoder_arguments
        if recipe.start is not None:
            return with_frames(recipe.start, shape["num_frames"])
        return recipe.encoder(**shape)

    def _contrastive_encoder(self) -> keras.Model:
        return load_encoder(self.folder / CONTRASTIVE_FOLDER).encoder

    def _record(self, seconds: float) -> dict[str, Any]:
        """The row of one training.

        'accuracy' is the test accuracy of the weights that validation has chosen;
        'optimistic_accuracy' the best on the test fold of all that were looked at.
        """
        selected = Predictions.load(self.folder / SELECTED_FILE)
        optimistic = Predictions.load(self.folder / OPTIMISTIC_FILE)
        _, on_validation = read_metric(self.folder, "validation/accuracy")
        _, on_test = read_metric(self.folder, "validation/test_accuracy")
        return {
            "seed": self.seed,
            "fold": self.fold,
            "accuracy": selected.accuracy,
            "epoch": selected.step // self.steps_per_epoch,
            "validation_accuracy": max(on_validation),
            "optimistic_accuracy": optimistic.accuracy,
            "optimistic_epoch": optimistic.step // self.steps_per_epoch,
            "last_accuracy": on_test[-1],
            "num_train_clips": len(self.split.train),
            "num_validation_clips": len(self.split.validation),
            "num_test_clips": len(self.split.test),
            "seconds": round(seconds, 2),
        }


def predict(
    module: ClassificationModel, folded: FoldedClips, positions: np.ndarray, samples: int
) -> Predictions:
    """Classifies some clips, in their order.

    Args:
      module: the classifier.
      folded: all clips.
      positions: integer [n], which of them.
      samples: length that every clip is cut or zero-padded to.

    Returns:
      The probabilities and labels of the n clips.
    """
    ids: list[str] = []
    probabilities, embeddings = [], []
    for names, audio in clip_batches(folded.clips, positions, samples):
        outputs = module(to_float(audio))
        ids += names
        probabilities.append(outputs["probabilities"].numpy())
        embeddings.append(outputs["embedding"].numpy())
    return Predictions(
        tuple(ids),
        folded.labels[positions],
        np.concatenate(probabilities),
        embedding=np.concatenate(embeddings),
    )
