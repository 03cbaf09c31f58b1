"""Mixture invariant training: a separator learns from pairs of clips, without labels or sources."""

from __future__ import annotations

import keras
import tensorflow as tf

from sepcon.data.clips import to_float
from sepcon.features import LogMel
from sepcon.losses.mixit import mixit_loss
from sepcon.losses.mixit_snr import mixit_negative_snr_db
from sepcon.losses.snr import energy, energy_db
from sepcon.models.separator import Separator
from sepcon.replicas import num_replicas
from sepcon.training.task import Summaries

_NUM_UNIFORMS = 2  # where a clip is cut, and how loud it becomes
_ACTIVE_DB = 20.0  # a source is active that is not further below the loudest
_NUM_EXAMPLES = 2
_IMAGE_RANGE_DB = 60.0


class SeparationTask:
    """Separates sums of two neighbouring clips of the batch by MixIT.

    Wisdom et al. 2020, "Unsupervised sound separation using mixture invariant training". Clips
    2i and 2i + 1 form a mixture of mixtures, so that the pairs are the same on any number of
    replicas; each replica needs an even number of clips.

    Args:
      separator: what is trained.
      segment_seconds: how much of a clip is used, from a random place on.
      gain_range_db: each clip is made louder or quieter by up to so much, at random.
      max_snr_db: the soft threshold of the loss.
    """

    num_uniforms = _NUM_UNIFORMS

    def __init__(
        self,
        separator: Separator,
        *,
        segment_seconds: float = 3.0,
        gain_range_db: float = 0.0,
        max_snr_db: float = 30.0,
    ) -> None:
        self._separator = separator
        self._rate_hz = separator.config.sample_rate_hz
        self._segment_samples = round(segment_seconds * self._rate_hz)
        if self._segment_samples < 1:
            raise ValueError(f"segment_seconds: got {segment_seconds}, expected more than 0")
        self._gain_range_db = gain_range_db
        self._max_snr_db = max_snr_db

    @property
    def model(self) -> keras.Model:
        return self._separator

    @property
    def product(self) -> keras.Model:
        return self._separator

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        """This replica's share of the MixIT loss and of what is logged beside it.

        Args:
          batch: `audio` int16 [batch, clip_samples] and `uniforms` float32 [batch, 2].
          training: whether the separator's compiled operations are used; the numbers are the same.

        Returns:
          `loss` (dB, without the constant that depends on the clips alone), `negative_snr_db`
          (with it) and `active_sources` (of a mixture of mixtures, mean).
        """
        reference = self._references(batch)  # [pair, 2, samples]
        estimate = self._separator(tf.reduce_sum(reference, axis=1), training=training)
        result = mixit_loss(reference=reference, estimate=estimate, max_snr_db=self._max_snr_db)
        values = {
            "loss": result.loss,
            "negative_snr_db": mixit_negative_snr_db(
                reference=reference,
                estimate=estimate,
                mixing_matrix=result.mixing_matrix,
                max_snr_db=self._max_snr_db,
            ),
            "active_sources": count_active_sources(estimate),
        }
        global_pairs = tf.cast(tf.shape(reference)[0] * num_replicas(), tf.float32)
        return {name: tf.reduce_sum(value) / global_pairs for name, value in values.items()}

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """Mixtures of mixtures and their sources, to listen to and as spectrograms."""
        mixture = tf.reduce_sum(self._references(batch)[:_NUM_EXAMPLES], axis=1)
        estimate = self._separator(mixture)
        tracks = tf.concat([mixture[:, tf.newaxis], estimate], axis=1)
        tracks /= tf.reduce_max(tf.abs(tracks), axis=(1, 2), keepdims=True) + 1e-8
        names = ["mixture", *(f"source_{m}" for m in range(estimate.shape[1]))]
        audio = {name: (tracks[:, k], self._rate_hz) for k, name in enumerate(names)}
        return Summaries(audio=audio, images={"mixture_and_sources": spectrograms(tracks)})

    def _references(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Cuts, scales and pairs the clips: [batch / 2, 2, samples] float32."""
        audio, uniforms = batch["audio"], batch["uniforms"]
        num_clips, clip_samples = audio.shape
        if num_clips is not None and num_clips % 2:
            raise ValueError(f"batch: got {num_clips} clips per replica, expected an even number")
        segment_samples = min(self._segment_samples, clip_samples)
        places = clip_samples - segment_samples + 1
        start = tf.cast(uniforms[:, 0] * tf.cast(places, tf.float32), tf.int32)
        start = tf.minimum(start, places - 1)  # a product that rounded up
        index = start[:, tf.newaxis] + tf.range(segment_samples)
        segment = to_float(tf.gather(audio, index, batch_dims=1))  # [batch, samples]
        gain_db = self._gain_range_db * (2.0 * uniforms[:, 1:2] - 1.0)
        return tf.reshape(segment * 10.0 ** (gain_db / 20.0), [-1, 2, segment_samples])


def count_active_sources(estimate: tf.Tensor) -> tf.Tensor:
    """How many sources are at most 20 dB below the loudest of their example.

    Args:
      estimate: [batch, source, samples] float32.

    Returns:
      [batch] float32.
    """
    level_db = energy_db(energy(estimate))  # [batch, source]
    active = level_db >= tf.reduce_max(level_db, axis=1, keepdims=True) - _ACTIVE_DB
    return tf.reduce_sum(tf.cast(active, tf.float32), axis=1)


def spectrograms(tracks: tf.Tensor) -> tf.Tensor:
    """Log-mel spectrograms below one another, on one scale per example.

    Args:
      tracks: [batch, track, samples] float32.

    Returns:
      [batch, track * mels, frames, 1] float32 in [0, 1]: low frequencies at the bottom of each
      track, black 60 dB below the loudest.
    """
    log_mel = LogMel()(tracks)  # [batch, track, frames, mels]
    top = tf.reduce_max(log_mel, axis=(1, 2, 3), keepdims=True)
    log_range = _IMAGE_RANGE_DB / 10.0 * tf.math.log(10.0)
    scaled = tf.clip_by_value(1.0 + (log_mel - top) / log_range, 0.0, 1.0)
    upright = tf.reverse(tf.transpose(scaled, [0, 1, 3, 2]), [2])  # [batch, track, mels, frames]
    shape = tf.shape(upright)
    return tf.reshape(upright, [shape[0], shape[1] * shape[2], shape[3], 1])
