"""What an example is to a training stream, whatever it holds: sound, pictures or numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import tensorflow as tf

Example = dict[str, tf.Tensor]
ReadExample = Callable[[tf.Tensor, tf.Tensor], Example]


class CountedExamples(Protocol):
    """What a training stream knows of a kind of example before it reads one."""

    @property
    def name(self) -> str:
        """What the examples are; together with `num_examples` it tells them from others."""

    @property
    def num_examples(self) -> int:
        """How many there are."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the columns of 'labels'; empty when nothing is labelled."""

    @property
    def num_uniforms(self) -> int:
        """Random numbers that reading one example takes."""


class Examples(CountedExamples, Protocol):
    """A kind of example: what a training stream reads, by number.

    The stream decides which example stands in which place of a batch, and draws its random
    numbers; a kind of example says how one is read. `ClipExamples` is the kind for sound.
    """

    def reader(self) -> ReadExample:
        """Opens the examples and returns the function that reads one, in the graph of tf.data.

        The function takes the position int64 [] of an example and all random numbers of it in this
        epoch, float32 [num_uniforms + those of the task] in [0, 1). Reading may use the first
        `num_uniforms`; the others are what the training step will draw from, so that a reader which
        knows the step's rules can read nothing but what they take.

        It returns tensors by name, of static shapes: 'id' string [], what an error message calls
        the example; 'labels' float32 [classes] if anything is labelled; and what the step takes.
        The stream adds 'uniforms' and 'position'.

        Raises:
          SepconError: a file is missing or does not fit.
        """


@runtime_checkable
class ExamplesInRows(CountedExamples, Protocol):
    """A kind of example of which many are read by one call, for a call costs more than reading one.

    Examples that take time to decode are better read one by one, which a stream does in parallel:
    see `Examples`.
    """

    def row_reader(self) -> ReadExample:
        """Opens the examples and returns the function that reads some, in the graph of tf.data.

        As `Examples.reader`, but the function takes positions int64 [rows] and uniforms float32
        [rows, ...], rows not static, and every tensor that it returns has a first axis of rows.
        """


def map_in_order(
    dataset: tf.data.Dataset, function: Callable[..., Any], num_parallel_calls: int
) -> tf.data.Dataset:
    """Maps the elements of a data set in their order, without Autograph.

    Autograph, which `Dataset.map` applies, takes longer than tracing the function itself.

    Args:
      dataset: of any elements.
      function: maps an element by TensorFlow operations; no `if` or loop over tensors.
      num_parallel_calls: elements that are mapped at the same time.

    Returns:
      The mapped elements.
    """
    return dataset.map(
        tf.autograph.experimental.do_not_convert(function),
        num_parallel_calls=num_parallel_calls,
        deterministic=True,
    )
