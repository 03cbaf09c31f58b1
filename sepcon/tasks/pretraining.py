"""Self-supervised pretraining: similarity maximisation and coincidence prediction on views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from sepcon.data.examples import Examples
from sepcon.losses.coincidence import coincidence_loss
from sepcon.losses.contrastive import nt_xent
from sepcon.models.heads import CoincidenceHead, projection_head
from sepcon.replicas import gather_global, num_replicas
from sepcon.tasks.batch_views import BatchViews
from sepcon.training.task import Summaries


@dataclass(frozen=True)
class SimilarityAndCoincidence:
    """What is learned without labels: that two views are of the same example.

    loss = similarity_weight * NT-Xent(projections) + coincidence_weight * coincidence(embeddings),
    after Fonseca et al., 2021. A weight of 0 leaves out the loss and its head.

    Attributes:
      similarity_weight: weight of similarity maximisation, at least 0.
      coincidence_weight: weight of coincidence prediction, at least 0; not both 0.
      temperature: divides the cosine of projections, above 0.
      projection_hidden_sizes: hidden layers of the projection head; none makes it linear.
      projection_size: size of the projection.
      coincidence_hidden_sizes: hidden layers of the coincidence head, at least one.
    """

    similarity_weight: float = 1.0
    coincidence_weight: float = 1.0
    temperature: float = 0.2
    projection_hidden_sizes: Sequence[int] = (512, 256)
    projection_size: int = 128
    coincidence_hidden_sizes: Sequence[int] = (256, 64)

    def __post_init__(self) -> None:
        weights = (self.similarity_weight, self.coincidence_weight)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(
                "similarity_weight and coincidence_weight must not be negative and not both 0, "
                f"got {weights}"
            )
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    def task(
        self, *, encoder: keras.Model, views: BatchViews, examples: Examples
    ) -> PretrainingTask:
        """See `Objective`."""
        return PretrainingTask(encoder=encoder, views=views, objective=self)


class PretrainingModel(keras.Model):
    """The encoder and the heads that are trained with it, as one thing to train and save.

    Args:
      encoder: log_mel [batch, frames, mels] -> embedding [batch, dim].
      projection: embedding -> projection, or None without similarity maximisation.
      coincidence: pairs of embeddings -> logits, or None without coincidence prediction.
    """

    def __init__(
        self,
        *,
        encoder: keras.Model,
        projection: keras.Model | None,
        coincidence: CoincidenceHead | None,
    ) -> None:
        super().__init__(name="pretraining")
        self.encoder = encoder
        self.projection = projection
        self.coincidence = coincidence
        self.built = True


class PretrainingTask:
    """Trains an encoder so that two views of an example are told from views of others.

    Both views go through the encoder as one batch, so that its batch normalisation sees them
    together. What a batch holds, the views say.

    Args:
      encoder: view [batch, ...] -> embedding [batch, dim]; of sound see models/encoders.py.
      views: makes the two views of each example of a batch.
      objective: what is learned.
    """

    def __init__(
        self,
        *,
        encoder: keras.Model,
        views: BatchViews,
        objective: SimilarityAndCoincidence,
    ) -> None:
        self.views = views
        self.num_uniforms = views.num_uniforms
        self._objective = objective
        embedding_size = encoder.output_shape[-1]
        projection, coincidence = None, None
        if objective.similarity_weight:
            projection = projection_head(
                embedding_size=embedding_size,
                hidden_sizes=objective.projection_hidden_sizes,
                projection_size=objective.projection_size,
            )
        if objective.coincidence_weight:
            coincidence = CoincidenceHead(hidden_sizes=objective.coincidence_hidden_sizes)
            coincidence.build((None, embedding_size), (None, embedding_size))
        self._model = PretrainingModel(
            encoder=encoder, projection=projection, coincidence=coincidence
        )

    @property
    def model(self) -> PretrainingModel:
        return self._model

    @property
    def product(self) -> keras.Model:
        """The encoder: the heads are of no use after training."""
        return self._model.encoder

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        """This replica's share of the losses and of what tells how training goes.

        Args:
          batch: see the class.
          training: whether batch statistics are used and moving ones updated.

        Returns:
          [] float32 each: 'loss', 'similarity_loss' and 'contrastive_accuracy' (with a projection
          head), 'coincidence_loss' (with a coincidence head), and of the embeddings
          'positive_cosine' (mean over pairs) and 'embedding_deviation' (of the anchors on the
          unit sphere, root of the summed variances: near 1 when spread evenly, 0 when collapsed).
        """
        views = self.views(batch)
        rows = tf.shape(views.anchor)[0]
        embeddings = self._model.encoder(tf.concat(views, axis=0), training=training)
        anchor, positive = embeddings[:rows], embeddings[rows:]  # [batch, dim] each
        # Row values, [batch] each: their mean over the global batch is what is reported.
        values = {"positive_cosine": _cosine(anchor, positive)}
        loss = tf.zeros_like(values["positive_cosine"])
        if self._model.projection is not None:
            projections = self._model.projection(embeddings, training=training)
            similarity = nt_xent(
                anchor=projections[:rows],
                positive=projections[rows:],
                temperature=self._objective.temperature,
            )
            values["similarity_loss"] = similarity.loss
            values["contrastive_accuracy"] = similarity.accuracy
            loss += self._objective.similarity_weight * similarity.loss
        if self._model.coincidence is not None:
            positives, row_offset = gather_global(positive)
            logits = self._model.coincidence(anchor, positives)
            values["coincidence_loss"] = coincidence_loss(logits=logits, row_offset=row_offset)
            loss += self._objective.coincidence_weight * values["coincidence_loss"]
        values["loss"] = loss
        replicas = num_replicas()
        shares = {name: tf.reduce_mean(value) / replicas for name, value in values.items()}
        shares["embedding_deviation"] = _deviation(anchor) / replicas
        return shares

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """See `BatchViews.summaries`."""
        return self.views.summaries(batch)


def _cosine(anchor: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
    """Cosine of the angle in each pair of rows, [batch]."""
    unit_anchor, unit_positive = (
        tf.math.l2_normalize(each, axis=-1) for each in (anchor, positive)
    )
    return tf.reduce_sum(unit_anchor * unit_positive, axis=-1)


def _deviation(embedding: tf.Tensor) -> tf.Tensor:
    """How widely the global batch's embeddings are spread on the unit sphere, []."""
    everyone, _ = gather_global(tf.math.l2_normalize(tf.stop_gradient(embedding), axis=-1))
    variance = tf.math.reduce_variance(everyone, axis=0)  # [dim]
    return tf.sqrt(tf.reduce_sum(variance))
