"""Self-supervised pretraining: similarity maximisation and coincidence prediction on views."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from sepcon.losses.coincidence import coincidence_loss
from sepcon.losses.contrastive import nt_xent
from sepcon.models.heads import CoincidenceHead, projection_head
from sepcon.replicas import gather_global, num_replicas
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.training.task import Summaries


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
    """Trains an encoder so that two views of a clip are told from views of other clips.

    loss = similarity_weight * NT-Xent(projections) + coincidence_weight * coincidence(embeddings),
    after Fonseca et al., 2021. A weight of 0 leaves out the loss and its head.

    Both views go through the encoder as one batch, so that its batch normalisation sees them
    together. What a batch holds is said by `LogMelViews`.

    Args:
      encoder: log_mel [batch, frames, mels] -> embedding [batch, dim], see models/encoders.py.
      patches: makes the log-mel patches of a batch.
      similarity_weight: weight of similarity maximisation, at least 0.
      coincidence_weight: weight of coincidence prediction, at least 0; not both 0.
      temperature: divides the cosine of projections, above 0.
      projection_hidden_sizes: hidden layers of the projection head; none makes it linear.
      projection_size: size of the projection.
      coincidence_hidden_sizes: hidden layers of the coincidence head, at least one.
    """

    def __init__(
        self,
        *,
        encoder: keras.Model,
        patches: LogMelViews,
        similarity_weight: float = 1.0,
        coincidence_weight: float = 0.0,
        temperature: float = 0.2,
        projection_hidden_sizes: Sequence[int] = (512, 256),
        projection_size: int = 128,
        coincidence_hidden_sizes: Sequence[int] = (256, 64),
    ) -> None:
        _check_arguments(similarity_weight, coincidence_weight, temperature)
        self.patches = patches
        self.num_uniforms = patches.num_uniforms
        self._similarity_weight = similarity_weight
        self._coincidence_weight = coincidence_weight
        self._temperature = temperature
        embedding_size = encoder.output_shape[-1]
        projection, coincidence = None, None
        if similarity_weight:
            projection = projection_head(
                embedding_size=embedding_size,
                hidden_sizes=projection_hidden_sizes,
                projection_size=projection_size,
            )
        if coincidence_weight:
            coincidence = CoincidenceHead(hidden_sizes=coincidence_hidden_sizes)
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
        log_mels = self.patches(batch)
        rows = tf.shape(log_mels.anchor)[0]
        embeddings = self._model.encoder(tf.concat(log_mels, axis=0), training=training)
        anchor, positive = embeddings[:rows], embeddings[rows:]  # [batch, dim] each
        # Row values, [batch] each: their mean over the global batch is what is reported.
        values = {"positive_cosine": _cosine(anchor, positive)}
        loss = tf.zeros_like(values["positive_cosine"])
        if self._model.projection is not None:
            projections = self._model.projection(embeddings, training=training)
            similarity = nt_xent(
                anchor=projections[:rows],
                positive=projections[rows:],
                temperature=self._temperature,
            )
            values["similarity_loss"] = similarity.loss
            values["contrastive_accuracy"] = similarity.accuracy
            loss += self._similarity_weight * similarity.loss
        if self._model.coincidence is not None:
            positives, row_offset = gather_global(positive)
            logits = self._model.coincidence(anchor, positives)
            values["coincidence_loss"] = coincidence_loss(logits=logits, row_offset=row_offset)
            loss += self._coincidence_weight * values["coincidence_loss"]
        values["loss"] = loss
        replicas = num_replicas()
        shares = {name: tf.reduce_mean(value) / replicas for name, value in values.items()}
        shares["embedding_deviation"] = _deviation(anchor) / replicas
        return shares

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """See `LogMelViews.summaries`."""
        return self.patches.summaries(batch)


def _check_arguments(
    similarity_weight: float,
    coincidence_weight: float,
    temperature: float,
) -> None:
    weights = (similarity_weight, coincidence_weight)
    if min(weights) < 0 or max(weights) == 0:
        raise ValueError(
            "similarity_weight and coincidence_weight must not be negative and not both 0, "
            f"got {weights}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")


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
