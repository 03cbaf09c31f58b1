"""What a classifier says of held-out clips while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from sepcon.data.examples import Examples
from sepcon.data.stream import TrainingStream
from sepcon.errors import SepconError
from sepcon.metrics.classification import classification_scores
from sepcon.tasks.batch_views import BatchViews
from sepcon.tasks.supervised import SupervisedTask
from sepcon.training.task import Task


@dataclass(frozen=True)
class LabelScores:
    """Measures a supervised training by its own classifier, on examples that it does not see.

    They are seen as evaluation will see them, without augmentation; which they are and what part of
    each is seen does not change. Nothing of the training is changed by it.

    Attributes:
      examples: with the classes that are learned.
      every_steps: steps between two measurements; there is always one in the end.
      num_examples: how many are taken, at most.
      batch_size: examples at a time.
      seed: of which examples are taken.
    """

    examples: Examples
    every_steps: int
    num_examples: int = 1000
    batch_size: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("every_steps", "num_examples", "batch_size"):
            if getattr(self, name) < 1:
                raise SepconError(
                    f"LabelScores.{name} is {getattr(self, name)}, expected 1 or more"
                )

    def validation(self, task: Task, views: BatchViews) -> Callable[[], Mapping[str, float]]:
        """Returns what the training loop calls.

        It gives 'label_map', the mean average precision over the classes (a label above 0 counts as
        one), and 'cross_entropy', by which soft labels are learned.

        Raises:
          SepconError: nothing with labels is learned, or other classes.
        """
        if not isinstance(task, SupervisedTask):
            raise SepconError(
                "LabelScores measure the classifier of a supervised training; bind "
                "pretrain.objective = @supervised(), or take TrainingProbe"
            )
        classes = task.classifier.head.units
        if len(self.examples.class_names) != classes:
            raise SepconError(
                f"LabelScores: {self.examples.name} has {len(self.examples.class_names)} classes, "
                f"{classes} are learned; give examples of the same labels"
            )
        classifier = task.classifier
        logits_of = tf.function(
            lambda batch: classifier(views.plain(batch), training=False), autograph=False
        )
        count = min(self.num_examples, self.examples.num_examples)

        def scores() -> Mapping[str, float]:
            stream = TrainingStream(
                examples=views.drawn_from(self.examples, plain=True),
                batch_size=min(self.batch_size, count),
                seed=self.seed,
                num_uniforms=views.num_uniforms,
            )
            logits, labels = [], []
            for batch in stream.batches(0).take(-(-count // stream.batch_size)):
                logits.append(logits_of(batch).numpy())
                labels.append(batch["labels"].numpy())
            # The last batch may reach into a second epoch.
            return measure(np.concatenate(logits)[:count], np.concatenate(labels)[:count])

        return scores


def measure(logits: np.ndarray, labels: np.ndarray) -> Mapping[str, float]:
    """Returns the scores of some clips; no 'label_map' where no class tells one from another.

    Args:
      logits: float32 [clips, classes].
      labels: float32 [clips, classes], from 0 to 1.
    """
    entropy = np.logaddexp(0.0, logits) - labels * logits
    scores = {"cross_entropy": float(entropy.sum(axis=1).mean())}
    targets = labels > 0
    if (targets.any(axis=0) & ~targets.all(axis=0)).any():
        found = classification_scores(targets=targets, scores=logits)
        scores["label_map"] = found.mean_average_precision
    return scores
