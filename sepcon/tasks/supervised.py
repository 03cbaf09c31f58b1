"""Training with labels: cross-entropy, supervised contrastive loss, or both (SoundCLR)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from sepcon.data.examples import Examples
from sepcon.errors import SepconError
from sepcon.losses.supervised_contrastive import supervised_contrastive
from sepcon.models.classifier import Classifier
from sepcon.models.heads import projection_head
from sepcon.replicas import num_replicas
from sepcon.tasks.batch_views import BatchViews
from sepcon.training.task import Summaries


@dataclass(frozen=True)
class SupervisedObjective:
    """What is learned from labels.

    loss = contrastive_weight * SupCon(projections) + (1 - contrastive_weight) * cross-entropy, as
    SoundCLR (Nasiri and Hu, 2021) has it.

    Attributes:
      contrastive_weight: in [0, 1]; 0 leaves the projection out, 1 the classifier.
      exclusive: whether a clip has one class (softmax) or any number of them (a sigmoid for each,
        losses summed over the classes).
      num_views: patches of a clip in a batch, 1 or 2.
      normalize_embedding: brings embeddings to length one, for the classifier and the projection.
      temperature: of the contrastive loss.
      projection_hidden_sizes: hidden layers of the projection head; none makes it linear.
      projection_size: size of the projection.
      frozen_encoder: leaves the encoder as it is; only the classifier learns.
    """

    contrastive_weight: float = 0.5
    exclusive: bool = True
    num_views: int = 1
    normalize_embedding: bool = True
    temperature: float = 0.05
    projection_hidden_sizes: Sequence[int] = ()
    projection_size: int = 64
    frozen_encoder: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.contrastive_weight <= 1:
            raise ValueError(f"contrastive_weight={self.contrastive_weight} is not in [0, 1]")
        if self.num_views not in (1, 2):
            raise ValueError(f"num_views must be 1 or 2, got {self.num_views}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if self.contrastive_weight and not self.exclusive:
            raise ValueError("a contrastive_weight needs exclusive classes, one of each clip")
        if self.contrastive_weight == 1 and self.frozen_encoder:
            raise ValueError("contrastive_weight=1 and frozen_encoder leave nothing to be learned")

    def task(
        self, *, encoder: keras.Model, views: BatchViews, examples: Examples
    ) -> SupervisedTask:
        """See `Objective`; of what is trained, the encoder is kept.

        Raises:
          SepconError: the examples have no labels.
        """
        if not examples.class_names:
            raise SepconError(
                f"{examples.name} has no labels, which supervised training learns from; take "
                "labelled examples, or another objective"
            )
        num_classes = len(examples.class_names)
        return SupervisedTask(encoder=encoder, views=views, num_classes=num_classes, objective=self)


def supervised(*, exclusive: bool = False, num_views: int = 2) -> SupervisedObjective:
    """What pretraining without labels is held against: cross-entropy on the views it would see.

    Args:
      exclusive: whether an example has one class, or any number of them.
      num_views: views of an example in a batch, 1 or 2.
    """
    return SupervisedObjective(
        contrastive_weight=0.0,
        exclusive=exclusive,
        num_views=num_views,
        normalize_embedding=False,
    )


class SupervisedModel(keras.Model):
    """The classifier and the projection head, as one thing to train and save.

    Args:
      classifier: with the encoder in it.
      projection: embedding -> projection, or None without a contrastive loss.
      with_head: whether the classifier's linear layer learns.
      with_encoder: whether the encoder learns.
    """

    def __init__(
        self,
        *,
        classifier: Classifier,
        projection: keras.Model | None,
        with_head: bool,
        with_encoder: bool,
    ) -> None:
        super().__init__(name="supervised")
        classifier.encoder.trainable = with_encoder
        classifier.head.trainable = with_head
        self.classifier = classifier
        self.projection = projection
        self.built = True


class SupervisedTask:
    """Trains an encoder with labels, on the views that pretraining would see.

    A batch holds 'labels' float32 [batch, classes], multi-hot, beside what the views take. All
    views of a batch go through the encoder together.

    Args:
      encoder: view [batch, ...] -> embedding [batch, dim]; of sound see models/encoders.py.
      views: makes the views of each example of a batch.
      num_classes: columns of the labels, at least 1.
      objective: what is learned.
      keep_classifier: whether the run is for the classifier, or for the encoder alone.
    """

    def __init__(
        self,
        *,
        encoder: keras.Model,
        views: BatchViews,
        num_classes: int,
        objective: SupervisedObjective,
        keep_classifier: bool = False,
    ) -> None:
        self.views = views
        self.num_uniforms = views.num_uniforms
        self._objective = objective
        self._keep_classifier = keep_classifier
        projection = None
        if objective.contrastive_weight > 0:
            projection = projection_head(
                embedding_size=encoder.output_shape[-1],
                hidden_sizes=objective.projection_hidden_sizes,
                projection_size=objective.projection_size,
            )
        classifier = Classifier(
            encoder=encoder, num_classes=num_classes, normalize=objective.normalize_embedding
        )
        self._model = SupervisedModel(
            classifier=classifier,
            projection=projection,
            with_head=objective.contrastive_weight < 1,
            with_encoder=not objective.frozen_encoder,
        )

    @property
    def model(self) -> SupervisedModel:
        return self._model

    @property
    def classifier(self) -> Classifier:
        """The encoder and the linear layer on it."""
        return self._model.classifier

    @property
    def product(self) -> keras.Model:
        """The classifier, or the encoder alone."""
        return self.classifier if self._keep_classifier else self.classifier.encoder

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        """This replica's share of the losses and of what tells how training goes.

        Args:
          batch: see the class.
          training: whether batch statistics are used and moving ones updated.

        Returns:
          [] float32 each: 'loss'; with a classifier 'cross_entropy' and 'precision_at_one', the
          share of patches whose most likely class is one of the clip's; with a projection
          'contrastive_loss'.
        """
        objective, views = self._objective, self._objective.num_views
        views_of_batch = [self.views.single(batch)] if views == 1 else self.views(batch)
        seen = tf.concat(views_of_batch, axis=0)  # [views * batch, ...]
        encode = self.classifier.encoder
        embedding = encode(seen, training=training and not objective.frozen_encoder)
        # Row values, [batch] each: their mean over the global batch is what is reported.
        values: dict[str, tf.Tensor] = {}
        if objective.contrastive_weight < 1:
            labels = tf.tile(batch["labels"], [views, 1])  # [views * batch, classes]
            values |= self._classification(self.classifier.logits(embedding), labels)
        projection = self._model.projection
        if projection is not None:
            if objective.normalize_embedding:
                embedding = tf.math.l2_normalize(embedding, axis=-1)
            projected = projection(embedding, training=training)
            values["contrastive_loss"] = self._contrastive(projected, batch["labels"])
        values["loss"] = tf.add_n(
            [
                weight * tf.reduce_mean(values[name])
                for name, weight in (
                    ("contrastive_loss", objective.contrastive_weight),
                    ("cross_entropy", 1.0 - objective.contrastive_weight),
                )
                if name in values
            ]
        )
        replicas = num_replicas()
        return {name: tf.reduce_mean(value) / replicas for name, value in values.items()}

    def _classification(self, logits: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Cross-entropy and hit of each patch, [views * batch] each."""
        if self._objective.exclusive:
            entropy = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        else:
            entropy = tf.reduce_sum(
                tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits), axis=-1
            )
        best = tf.argmax(logits, axis=-1, output_type=tf.int32)
        return {
            "cross_entropy": entropy,
            "precision_at_one": tf.gather(labels, best, batch_dims=1),
        }

    def _contrastive(self, projected: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The contrastive loss of each clip, [batch], from [views * batch, dim]."""
        per_view = tf.split(projected, self._objective.num_views, axis=0)
        return supervised_contrastive(
            projection=tf.stack(per_view, axis=1),  # [batch, views, dim]
            label=tf.argmax(labels, axis=-1),
            temperature=self._objective.temperature,
        )

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """See `BatchViews.summaries`."""
        return self.views.summaries(batch)
