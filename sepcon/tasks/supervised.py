"""Training end to end with labels: the end of the scale that pretraining is held against."""

from __future__ import annotations

import keras
import tensorflow as tf

from sepcon.replicas import num_replicas
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.training.task import Summaries


class SupervisedModel(keras.Model):
    """The encoder and the classifier on top of it, as one thing to train and save.

    Args:
      encoder: log_mel [batch, frames, mels] -> embedding [batch, dim].
      num_classes: size of the output.
    """

    def __init__(self, *, encoder: keras.Model, num_classes: int) -> None:
        super().__init__(name="supervised")
        self.encoder = encoder
        self.classifier = keras.layers.Dense(num_classes, name="classifier")
        self.classifier.build((None, encoder.output_shape[-1]))
        self.built = True


class SupervisedTask:
    """Trains an encoder to name the classes of a clip from either of its two patches.

    The patches are those that pretraining would see, so that a step costs as much; the classifier
    is a single layer. loss = binary cross-entropy, summed over classes, averaged over patches. A
    batch holds 'labels' float32 [batch, classes], multi-hot, beside what `LogMelViews` takes.

    Args:
      encoder: log_mel [batch, frames, mels] -> embedding [batch, dim], see models/encoders.py.
      patches: makes the log-mel patches of a batch.
      num_classes: columns of the labels, at least 1.
    """

    def __init__(self, *, encoder: keras.Model, patches: LogMelViews, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.patches = patches
        self._model = SupervisedModel(encoder=encoder, num_classes=num_classes)
        self.num_uniforms = patches.num_uniforms

    @property
    def model(self) -> SupervisedModel:
        return self._model

    @property
    def product(self) -> keras.Model:
        """The encoder: the benchmark trains a classifier of its own on it."""
        return self._model.encoder

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        """This replica's share of the loss and of what tells how training goes.

        Args:
          batch: see the class.
          training: whether batch statistics are used and moving ones updated.

        Returns:
          [] float32 each: 'loss', and 'precision_at_one', the share of patches whose most likely
          class is one of the clip's.
        """
        log_mels = tf.concat(self.patches(batch), axis=0)  # [2 * batch, frames, mels]
        labels = tf.tile(batch["labels"], [2, 1])  # [2 * batch, classes]
        logits = self._model.classifier(self._model.encoder(log_mels, training=training))
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        best = tf.argmax(logits, axis=-1, output_type=tf.int32)
        values = {
            "loss": tf.reduce_sum(entropy, axis=-1),
            "precision_at_one": tf.gather(labels, best, batch_dims=1),
        }  # [2 * batch] each
        replicas = num_replicas()
        return {name: tf.reduce_mean(value) / replicas for name, value in values.items()}

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """See `LogMelViews.summaries`."""
        return self.patches.summaries(batch)
