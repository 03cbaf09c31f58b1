"""A linear probe while an encoder is pretrained: what its embeddings tell of labels so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from sepcon.data.examples import Examples
from sepcon.data.stream import TrainingStream
from sepcon.errors import SepconError
from sepcon.metrics.classification import classification_scores
from sepcon.models.linear_classifier import fit_linear_classifier
from sepcon.tasks.batch_views import BatchViews
from sepcon.training.task import Task


@dataclass(frozen=True)
class TrainingProbe:
    """Fits a linear classifier on the embeddings of some labelled examples, and tests it on others.

    Examples are seen as evaluation will see them, without augmentation; which they are and what
    part of each is seen does not change while an encoder is trained. Nothing of the encoder or of
    its training is changed by it, nor does it choose anything: labels stay out of pretraining.

    Attributes:
      train: examples that the classifier is fitted to, sound or images as the encoder sees.
      test: examples that it is tested on.
      every_steps: steps between two probes; there is always one in the end.
      num_train: how many of the first are taken, at most.
      num_test: how many of the second.
      penalty: of the classifier, see `fit_linear_classifier`.
      batch_size: examples that are embedded at a time.
      seed: of which examples are taken.
    """

    train: Examples
    test: Examples
    every_steps: int
    num_train: int = 2000
    num_test: int = 1000
    penalty: float = 0.01
    batch_size: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.train.class_names or self.train.class_names != self.test.class_names:
            raise SepconError(
                f"probe: {self.train.name} and {self.test.name} have "
                f"{len(self.train.class_names)} and {len(self.test.class_names)} classes, expected "
                "the same ones; give labelled examples, or leave the probe out"
            )
        for name in ("every_steps", "num_train", "num_test", "batch_size"):
            if getattr(self, name) < 1:
                raise SepconError(f"probe: {name} is {getattr(self, name)}, expected at least 1")

    def validation(self, task: Task, views: BatchViews) -> Callable[[], Mapping[str, float]]:
        """Returns what the training loop calls: it gives the scores of the encoder as it is then.

        They are 'probe_accuracy' where every example has one class, else 'probe_map'.
        """
        encoder = task.product
        embed = tf.function(
            lambda batch: encoder(views.plain(batch), training=False), autograph=False
        )

        def scores() -> Mapping[str, float]:
            train, of_train = self._embedded(embed, views, self.train, self.num_train)
            test, of_test = self._embedded(embed, views, self.test, self.num_test)
            exclusive = bool((of_train.sum(axis=1) == 1).all() and (of_test.sum(axis=1) == 1).all())
            fitted = fit_linear_classifier(
                train, of_train, penalty=self.penalty, exclusive=exclusive
            )
            logits = fitted.logits(test)
            if exclusive:
                right = logits.argmax(axis=1) == of_test.argmax(axis=1)
                return {"probe_accuracy": float(right.mean())}
            return {
                "probe_map": classification_scores(
                    targets=of_test, scores=logits
                ).mean_average_precision
            }

        return scores

    def _embedded(
        self,
        embed: Callable[[dict[str, tf.Tensor]], tf.Tensor],
        views: BatchViews,
        examples: Examples,
        wanted: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings [n, dim] and labels [n, classes] of the first examples of a shuffled order."""
        count = min(wanted, examples.num_examples)
        stream = TrainingStream(
            examples=views.drawn_from(examples, plain=True),
            batch_size=min(self.batch_size, count),
            seed=self.seed,
            num_uniforms=views.num_uniforms,
        )
        batches = -(-count // stream.batch_size)
        embeddings, labels = [], []
        for batch in stream.batches(0).take(batches):
            embeddings.append(embed(batch).numpy())
            labels.append(batch["labels"].numpy())
        # The last batch may reach into a second epoch.
        return np.concatenate(embeddings)[:count], np.concatenate(labels)[:count]
