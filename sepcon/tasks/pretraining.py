"""Self-supervised pretraining: similarity maximisation and coincidence prediction on views."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from sepcon.augment import Augmentation, Chain, split_uniforms
from sepcon.data.clips import to_float
from sepcon.features import LogMel
from sepcon.losses.coincidence import coincidence_loss
from sepcon.losses.contrastive import nt_xent
from sepcon.models.encoders import recalibrate_batch_norm
from sepcon.models.heads import CoincidenceHead, projection_head
from sepcon.replicas import gather_global, num_replicas
from sepcon.training.task import Summaries
from sepcon.views import SeparatorFrontEnd, Views, ViewSampler

_MAX_SUMMARIES = 4


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
    together. A batch holds 'audio' int16 [batch, samples], 'uniforms' float32
    [batch, num_uniforms], and 'channels' int16 [batch, channel, samples] where the view sampler
    needs channels and there is no front-end to make them.

    Args:
      encoder: log_mel [batch, frames, mels] -> embedding [batch, dim], see models/encoders.py.
      log_mel: the front-end of the encoder.
      views: draws the pairs of patches.
      anchor_augmentations: applied to the log-mel patches of the anchors, in this order.
      positive_augmentations: the same for the positives.
      similarity_weight: weight of similarity maximisation, at least 0.
      coincidence_weight: weight of coincidence prediction, at least 0; not both 0.
      temperature: divides the cosine of projections, above 0.
      projection_hidden_sizes: hidden layers of the projection head.
      projection_size: size of the projection.
      coincidence_hidden_sizes: hidden layers of the coincidence head.
      front_end: makes channels on the fly, in place of 'channels' in the batch.
    """

    def __init__(
        self,
        *,
        encoder: keras.Model,
        log_mel: LogMel,
        views: ViewSampler,
        anchor_augmentations: Sequence[Augmentation] = (),
        positive_augmentations: Sequence[Augmentation] = (),
        similarity_weight: float = 1.0,
        coincidence_weight: float = 0.0,
        temperature: float = 0.2,
        projection_hidden_sizes: Sequence[int] = (512, 256),
        projection_size: int = 128,
        coincidence_hidden_sizes: Sequence[int] = (256, 64),
        front_end: SeparatorFrontEnd | None = None,
    ) -> None:
        _check_arguments(similarity_weight, coincidence_weight, temperature, log_mel, views)
        self._log_mel = log_mel
        self._views = views
        self._augment_anchor = Chain(tuple(anchor_augmentations))
        self._augment_positive = Chain(tuple(positive_augmentations))
        self._similarity_weight = similarity_weight
        self._coincidence_weight = coincidence_weight
        self._temperature = temperature
        self._front_end = front_end if views.needs_channels else None
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
        self._widths = [
            views.num_uniforms,
            self._augment_anchor.num_uniforms,
            self._augment_positive.num_uniforms,
            self._front_end.num_uniforms if self._front_end else 0,
        ]
        self.num_uniforms = sum(self._widths)

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

    def patches(self, batch: dict[str, tf.Tensor]) -> Views:
        """The augmented log-mel patches of both views, each [batch, frames, mels] float32."""
        to_views, to_anchor, to_positive, to_front_end = split_uniforms(
            batch["uniforms"], self._widths
        )
        # What is read as int16 stays int16 until it is cut: that halves the memory to move.
        mixture, channels = self._clips(batch, to_front_end)
        views = self._views(mixture=mixture, channels=channels, uniforms=to_views)
        log_mels = self._log_mel(_as_float(tf.concat(views, axis=0)))  # [2 * batch, frames, mels]
        anchor, positive = tf.split(log_mels, 2, axis=0)
        return Views(
            anchor=self._augment_anchor(anchor, to_anchor),
            positive=self._augment_positive(positive, to_positive),
        )

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """The first examples of a batch: patches as pictures, mixture and channels as sound."""
        batch = {name: value[:_MAX_SUMMARIES] for name, value in batch.items()}
        log_mels = self.patches(batch)
        to_front_end = split_uniforms(batch["uniforms"], self._widths)[-1]
        mixture, channels = self._clips(batch, to_front_end)
        sounds = {"mixture": _as_float(mixture)}
        if channels is not None:
            sounds |= {
                f"channel_{number}": _as_float(channel)
                for number, channel in enumerate(tf.unstack(channels, axis=1))
            }
        rate = self._log_mel.sample_rate_hz
        return Summaries(
            audio={name: (sound, rate) for name, sound in sounds.items()},
            images={name: _picture(value) for name, value in log_mels._asdict().items()},
        )

    def recalibrate(self, batches: Iterable[dict[str, tf.Tensor]]) -> int:
        """Takes the encoder's batch normalisation statistics anew, on plain patches of mixtures.

        To be called once after training, for evaluation sees nothing but mixtures. Runs outside of
        any strategy and is a pure function of weights and batches.

        Args:
          batches: some dozens of batches of the training stream.

        Returns:
          the number of batches seen.
        """
        patches = tf.function(self._mixture_patches)
        return recalibrate_batch_norm(self._model.encoder, map(patches, batches))

    def _mixture_patches(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Unaugmented log-mel patches of the mixtures, where the anchors lie."""
        sampler = dataclasses.replace(self._views, pairs=("mixture-mixture",))
        uniforms = split_uniforms(batch["uniforms"], self._widths)[0]
        views = sampler(mixture=batch["audio"], channels=None, uniforms=uniforms)
        return self._log_mel(_as_float(views.anchor))

    def _clips(
        self, batch: dict[str, tf.Tensor], uniforms: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Mixture [batch, samples] and, if needed, channels [batch, channel, samples].

        Both are float32 if a front-end makes the channels, else int16 as they were read.
        """
        if self._front_end is not None:
            mixture = to_float(batch["audio"])
            return mixture, self._front_end(mixture, uniforms)
        return batch["audio"], batch.get("channels") if self._views.needs_channels else None


def _as_float(audio: tf.Tensor) -> tf.Tensor:
    return to_float(audio) if audio.dtype == tf.int16 else audio


def _check_arguments(
    similarity_weight: float,
    coincidence_weight: float,
    temperature: float,
    log_mel: LogMel,
    views: ViewSampler,
) -> None:
    weights = (similarity_weight, coincidence_weight)
    if min(weights) < 0 or max(weights) == 0:
        raise ValueError(
            "similarity_weight and coincidence_weight must not be negative and not both 0, "
            f"got {weights}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if views.sample_rate_hz != log_mel.sample_rate_hz:
        raise ValueError(
            f"views.sample_rate_hz={views.sample_rate_hz} differs from "
            f"log_mel.sample_rate_hz={log_mel.sample_rate_hz}"
        )


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


def _picture(log_mel: tf.Tensor) -> tf.Tensor:
    """Log-mel patches as pictures with low frequencies below, [n, mels, frames, 1] in [0, 1]."""
    low = tf.reduce_min(log_mel, axis=[1, 2], keepdims=True)
    high = tf.reduce_max(log_mel, axis=[1, 2], keepdims=True)
    scaled = tf.math.divide_no_nan(log_mel - low, high - low)
    return tf.reverse(tf.transpose(scaled, [0, 2, 1]), axis=[1])[..., tf.newaxis]
