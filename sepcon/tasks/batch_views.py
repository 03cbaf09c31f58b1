"""What tasks and verbs ask of whoever makes the two views of a batch, whatever is seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import keras
import tensorflow as tf

from sepcon.data.examples import Examples, ExamplesInRows
from sepcon.models.encoders import recalibrate_batch_norm
from sepcon.training.task import Summaries
from sepcon.views.sampler import Views


class BatchViews(Protocol):
    """Makes two views of every example of a batch, as an encoder takes them.

    `LogMelViews` makes those of sound. Another kind of input brings `Examples` and `BatchViews` of
    its own; tasks, objectives, the loop and the verb stay as they are.
    """

    @property
    def num_uniforms(self) -> int:
        """Columns of 'uniforms' that the views of one example take."""

    @property
    def encoder_arguments(self) -> Mapping[str, int]:
        """What the factory of the encoder must be told of its input, by argument."""

    def opened(self, examples: Examples) -> BatchViews:
        """The same, ready for batches of these examples: networks that views need are loaded.

        Called inside the strategy's scope.

        Raises:
          SepconError: the examples are not such that these views can be made of them.
        """

    def drawn_from(self, examples: Examples, *, plain: bool = False) -> Examples | ExamplesInRows:
        """What a stream reads of the examples to make these views; of many kinds the examples.

        Args:
          examples: what `opened` was given.
          plain: whether for `plain` views alone; random numbers mean the same.
        """

    def __call__(self, batch: dict[str, tf.Tensor]) -> Views:
        """Both views, [batch, ...] float32 each."""

    def single(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The first view alone, [batch, ...] float32: the same as that of both together."""

    def plain(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """A view without augmentation, such as evaluation will see, [batch, ...] float32."""

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """The first examples of a batch [batch, ...] to look at and listen to."""

    def save_description(self, run_dir: str | Path, encoder: keras.Model) -> None:
        """Writes model.json: the encoder, and what it takes to feed it.

        Its 'kind' tells `write_saved_model` how such a network is exported. A kind that has no
        export there is trained all the same; its weights are under states/.

        Raises:
          SepconError: the folder describes another network.
        """


def recalibrate(
    encoder: keras.Model, views: BatchViews, batches: Iterable[dict[str, tf.Tensor]]
) -> int:
    """Computes the encoder's batch normalisation statistics anew, on views without augmentation.

    To be called once after training, because evaluation sees only such views. Runs outside of any
    strategy; the result depends on weights and batches only.

    Args:
      encoder: changed in place.
      views: makes the plain views.
      batches: some dozens of batches of the training stream, drawn for plain views, [batch, ...]
        each.

    Returns:
      The number of batches seen.
    """
    plain = tf.function(views.plain, autograph=False)
    return recalibrate_batch_norm(encoder, map(plain, batches))
