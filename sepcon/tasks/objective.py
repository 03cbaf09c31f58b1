"""What the verb `pretrain` asks of an objective."""

from __future__ import annotations

from typing import Protocol

import keras

from sepcon.data.examples import Examples
from sepcon.tasks.batch_views import BatchViews
from sepcon.training.task import Task


class Objective(Protocol):
    """What an encoder learns: bound in gin, made into a task when encoder and views are there.

    `SimilarityAndCoincidence` learns without labels, `SupervisedObjective` with them.
    """

    def task(self, *, encoder: keras.Model, views: BatchViews, examples: Examples) -> Task:
        """Makes the task; called inside the strategy's scope, after seeds were set.

        Args:
          encoder: view [batch, ...] -> embedding [batch, dim].
          views: makes the views of a batch.
          examples: what batches are made of, whose classes a supervised objective learns.

        Raises:
          SepconError: nothing of the kind can be learned from these examples.
        """
