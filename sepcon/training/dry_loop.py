"""Stands in for the training loop in a dry run: examines what would be trained, trains nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NoReturn

import keras
import tensorflow as tf

from sepcon.training.preflight import check_setup, check_stream
from sepcon.training.rhythm import Rhythm
from sepcon.training.step_memory import StepMemory, step_memory, variable_bytes
from sepcon.training.task import Stream, Task


@dataclasses.dataclass(frozen=True)
class Training:
    """What one training would be.

    Attributes:
      description: what the progress bar would say.
      batch: name -> shape and type of a tensor of the global batch, after one was read.
      num_steps: in all.
      num_examples: of the data set; None where the stream does not tell.
      batch_size: of the global batch.
      num_weights: of the model, trained or not.
      memory: of a step on each device.
      disk_bytes: of checkpoints and kept states.
    """

    description: str
    batch: Mapping[str, str]
    num_steps: int
    num_examples: int | None
    batch_size: int
    num_weights: int
    memory: StepMemory
    disk_bytes: int

    def rows(self) -> list[tuple[str, str]]:
        """Returns the rows of a table to print: (name, value)."""
        epochs = ""
        if self.num_examples:
            share = self.num_steps * self.batch_size / self.num_examples
            epochs = f", {share:.3g} passes over {self.num_examples} examples"
        memory = self.memory
        return [
            ("training", self.description),
            ("steps", f"{self.num_steps} of {self.batch_size} examples{epochs}"),
            *[(f"batch: {name}", text) for name, text in self.batch.items()],
            ("weights", f"{self.num_weights:,}"),
            (
                "memory of a step",
                f"about {size_text(memory.total)} on each device: activations "
                f"{size_text(memory.activations)}, weights {size_text(memory.weights)}, gradients "
                f"{size_text(memory.gradients)}, optimizer {size_text(memory.optimizer)}",
            ),
            ("disk", f"{size_text(self.disk_bytes)} for checkpoints and states"),
        ]


class TrainingChecked(Exception):  # noqa: N818 - it tells of no error
    """Raised where the training of a verb would begin, to end the verb; see `DryLoop`."""


class DryLoop:
    """Takes the arguments of `fit`, checks them, and ends the verb by a `TrainingChecked`.

    Everything that the verb does before its training is done as usual.

    Args:
      settings: arguments of `fit` that the configuration binds, such as periods in steps.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.trainings: list[Training] = []
        self._settings = dict(settings)

    def __call__(
        self,
        *,
        task: Task,
        stream: Stream,
        optimizer: keras.optimizers.Optimizer,
        num_steps: int,
        strategy: tf.distribute.Strategy | None = None,
        description: str = "training",
        **_: Any,
    ) -> NoReturn:
        """Looks at one batch and at the graph of one step.

        Args:
          task: see `fit`, as for all others.
          stream: gives the batch.
          optimizer: is built here.
          num_steps: steps in all.
          strategy: None is one device.
          description: what the progress bar would say.

        Raises:
          SepconError: a period of the loop is wrong, or an example cannot be read.
          TrainingChecked: all is well.
          ValueError: as `fit`.
        """
        strategy = strategy or tf.distribute.get_strategy()
        rhythm = self._rhythm(num_steps)
        check_setup(task=task, optimizer=optimizer, strategy=strategy)
        batches = stream.batches(0)
        replicas = strategy.num_replicas_in_sync
        size = check_stream(task=task, spec=batches.element_spec, replicas=replicas)
        batch = next(iter(batches))
        weights, product = list(task.model.variables), list(task.product.variables)
        memory = step_memory(
            task=task, optimizer=optimizer, strategy=strategy, spec=batches.element_spec
        )
        # While a checkpoint is written, the oldest is still there.
        checkpoints = self._settings.get("keep_checkpoints", 2) + 1
        self.trainings.append(
            Training(
                description=description,
                batch={
                    name: f"{tuple(each.shape)} {each.dtype.name}" for name, each in batch.items()
                },
                num_steps=num_steps,
                num_examples=getattr(getattr(stream, "examples", None), "num_examples", None),
                batch_size=size,
                num_weights=sum(int(tf.size(each)) for each in weights),
                memory=memory,
                disk_bytes=checkpoints * (memory.weights + memory.optimizer)
                + len(rhythm.states) * variable_bytes(product),
            )
        )
        raise TrainingChecked

    def _rhythm(self, num_steps: int) -> Rhythm:
        """Checks the periods as `fit` would."""
        names = {field.name for field in dataclasses.fields(Rhythm)} - {"num_steps"}
        given = {name: value for name, value in self._settings.items() if name in names}
        given["keep_state_steps"] = tuple(given.get("keep_state_steps", ()))
        defaults = {"steps_per_call": 10, "checkpoint_every_steps": 500, "log_every_steps": 50}
        return Rhythm(num_steps=num_steps, **{**defaults, **given})


def size_text(num_bytes: float) -> str:
    """Returns a number of bytes as text with a unit, such as "1.50 GB"."""
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
