"""Mixture invariant training: a separator learns from pairs of clips, without labels or sources.

A share of the pairs may be supervised: scenes whose sources are known are then separated one by
one, by permutation invariant training.
"""

from __future__ import annotations

import fractions
from typing import get_args

import keras
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.data.clips import to_float
from sepcon.errors import SepconError
from sepcon.losses.mixit import mixit_loss
from sepcon.losses.mixit_snr import mixit_negative_snr_db
from sepcon.losses.overseparation import SparsityForm, source_covariance, source_sparsity
from sepcon.losses.permutation import permutation_invariant_loss
from sepcon.losses.snr import energy, energy_db
from sepcon.models.separator.network import Separator
from sepcon.replicas import num_replicas
from sepcon.training.distribution import check_batch
from sepcon.training.task import Summaries
from sepcon.views.augment import crop, movable

_NUM_UNIFORMS = 2  # where a clip is cut, and how loud it becomes
_ACTIVE_DB = 20.0  # a source is active that is not further below the loudest
_NUM_EXAMPLES = 2
_IMAGE_RANGE_DB = 60.0


class SeparationTask:
    """Separates sums of two neighbouring clips of the batch by MixIT.

    Wisdom et al. 2020, "Unsupervised sound separation using mixture invariant training". Clips
    2i and 2i + 1 form a mixture of mixtures, so that the pairs are the same on any number of
    replicas; each replica needs an even number of clips.

    In a supervised pair both clips are scenes by themselves, compared with their known sources.
    The loss is the mean over pairs, so that `supervised_share` is the share of supervision in the
    clips as well as in the loss. The losses against over-separation concern mixtures of mixtures
    only: supervision tells which estimates shall be silent.

    Args:
      separator: what is trained.
      segment_seconds: how much of a clip is used, from a random place on.
      gain_range_db: each clip is made louder or quieter by up to so much, at random.
      max_snr_db: the soft threshold of the loss.
      supervised_share: share of the pairs, 0 to 1, that are supervised; a whole number of pairs on
        every replica. They are at equal distances in the batch.
      sparsity_weight: of `source_sparsity` beside the MixIT loss.
      sparsity_form: `l1`, `l1_l2` or `log`.
      covariance_weight: of `source_covariance` beside the MixIT loss.

    Raises:
      SepconError: an argument is not as it must be.
    """

    num_uniforms = _NUM_UNIFORMS

    def __init__(
        self,
        separator: Separator,
        *,
        segment_seconds: float = 3.0,
        gain_range_db: float = 0.0,
        max_snr_db: float = 30.0,
        supervised_share: float = 0.0,
        sparsity_weight: float = 0.0,
        sparsity_form: SparsityForm = "l1",
        covariance_weight: float = 0.0,
    ) -> None:
        self._separator = separator
        self._rate_hz = separator.config.sample_rate_hz
        self._segment_samples = round(segment_seconds * self._rate_hz)
        if self._segment_samples < 1:
            raise ValueError(f"segment_seconds: got {segment_seconds}, expected more than 0")
        if not 0.0 <= supervised_share <= 1.0:
            raise SepconError(f"supervised_share: got {supervised_share}, expected 0 to 1")
        if sparsity_form not in get_args(SparsityForm):
            forms = ", ".join(get_args(SparsityForm))
            raise SepconError(f"sparsity_form: got {sparsity_form!r}, expected one of {forms}")
        if supervised_share == 1.0 and (sparsity_weight or covariance_weight):
            raise SepconError(
                "sparsity_weight and covariance_weight concern mixtures of mixtures, of which "
                "there are none with supervised_share 1; expected both 0"
            )
        self._gain_range_db = gain_range_db
        self._max_snr_db = max_snr_db
        self._supervised_share = supervised_share
        self._sparsity_weight, self._sparsity_form = sparsity_weight, sparsity_form
        self._covariance_weight = covariance_weight

    @property
    def model(self) -> keras.Model:
        return self._separator

    @property
    def product(self) -> keras.Model:
        return self._separator

    def check_batch(self, spec: dict[str, tf.TensorSpec], replicas: int) -> None:
        """Checks what would else be said in the middle of tracing the first step.

        Args:
          spec: of the global batch.
          replicas: that share it.

        Raises:
          SepconError: the replicas cannot share the batch as the task needs it, or clips have more
            sources than the separator has outputs.
        """
        self._divided_pairs(check_batch(spec, replicas) // replicas)
        if self._supervised_share:
            self._check_sources(spec["sources"].shape[1])

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        """This replica's share of the loss and of what is logged beside it.

        Args:
          batch: `audio` int16 [batch, clip_samples], `uniforms` float32 [batch, 2] and, where
            there is supervision, `sources` int16 [batch, source, clip_samples].
          training: whether the separator's compiled operations are used; the numbers are the same.

        Returns:
          `loss` (dB, without the constant that depends on the clips alone). Of mixtures of
          mixtures, where there are any: `negative_snr_db` (with the constant), `active_sources`
          (mean), and `sparsity` and `covariance` where they have a weight. Of supervised scenes,
          where there are any: `supervised_loss` (dB).
        """
        unsupervised, supervised = self._divided(batch)
        references = [self._references(unsupervised)] if unsupervised else []  # [pair, 2, samples]
        references += [self._sources(supervised)] if supervised else []  # [scene, source, samples]
        mixtures = [tf.reduce_sum(reference, axis=1) for reference in references]
        # In one pass: the separator does not mix examples.
        sizes = [_rows(mixture) for mixture in mixtures]
        estimates = tf.split(self._separator(_joined(mixtures), training=training), sizes)
        values: dict[str, tf.Tensor] = {}
        if unsupervised:
            values |= _shares(self._mixit_values(references[0], estimates[0]))
        if supervised:
            result = permutation_invariant_loss(
                reference=references[-1], estimate=estimates[-1], max_snr_db=self._max_snr_db
            )
            values |= _shares({"supervised_loss": result.loss})
            share = self._supervised_share
            mixit = (1.0 - share) * values["loss"] if unsupervised else 0.0
            values["loss"] = mixit + share * values["supervised_loss"]
        return values

    def _mixit_values(self, reference: tf.Tensor, estimate: tf.Tensor) -> dict[str, tf.Tensor]:
        """The loss of each mixture of mixtures and what is logged beside it, [pair] each."""
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
        mixture = tf.reduce_sum(reference, axis=1)
        if self._sparsity_weight:
            values["sparsity"] = source_sparsity(
                mixture=mixture, estimate=estimate, form=self._sparsity_form
            )
            values["loss"] += self._sparsity_weight * values["sparsity"]
        if self._covariance_weight:
            values["covariance"] = source_covariance(mixture=mixture, estimate=estimate)
            values["loss"] += self._covariance_weight * values["covariance"]
        return values

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """Mixtures of mixtures of a batch [batch, ...] and their channels, as sound and picture."""
        mixture = tf.reduce_sum(self._references(batch)[:_NUM_EXAMPLES], axis=1)
        estimate = self._separator(mixture)
        tracks = tf.concat([mixture[:, tf.newaxis], estimate], axis=1)
        tracks /= tf.reduce_max(tf.abs(tracks), axis=(1, 2), keepdims=True) + 1e-8
        names = ["mixture", *(f"source_{m}" for m in range(estimate.shape[1]))]
        audio = {name: (tracks[:, k], self._rate_hz) for k, name in enumerate(names)}
        return Summaries(audio=audio, images={"mixture_and_sources": spectrograms(tracks)})

    def _divided(
        self, batch: dict[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Divides a batch into its unsupervised and its supervised pairs, empty where none are."""
        if self._supervised_share == 0.0:
            return batch, {}
        if self._supervised_share == 1.0:
            return {}, batch
        unsupervised, supervised = self._divided_pairs(batch["audio"].shape[0])
        return _pairs_of(batch, unsupervised), _pairs_of(batch, supervised)

    def _divided_pairs(self, num_clips: int) -> tuple[list[int], list[int]]:
        """The numbers of the unsupervised and of the supervised pairs of a replica."""
        if num_clips % 2:
            raise SepconError(
                f"batch_size: got {num_clips} clips per replica, expected an even number"
            )
        supervised = supervised_pairs(num_clips // 2, self._supervised_share)
        return [pair for pair in range(num_clips // 2) if pair not in supervised], supervised

    def _check_sources(self, most: int) -> None:
        outputs = self._separator.config.num_sources
        if most > outputs:
            raise SepconError(
                f"supervised_share: clips have up to {most} sources, but the separator has "
                f"{outputs} outputs; set SeparatorConfig.num_sources to {most} or more"
            )

    def _references(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Cuts, scales and pairs the clips: [batch / 2, 2, samples] float32."""
        segments = self._segments(batch["audio"][:, tf.newaxis], batch["uniforms"])
        return tf.reshape(segments, [-1, 2, segments.shape[2]])

    def _sources(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Cuts and scales the sources as their clips: [batch, source, samples] float32."""
        return self._segments(batch["sources"], batch["uniforms"])

    def _segments(self, audio: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Cuts and scales int16 [batch, row, clip_samples] to float32 [batch, row, samples]."""
        clip_samples = audio.shape[2]
        segment_samples = min(self._segment_samples, clip_samples)
        places = float(clip_samples - segment_samples + 1)
        # A product may round up.
        start = tf.minimum(tf.floor(uniforms[:, 0] * places), places - 1)
        segment = to_float(crop(audio, start, segment_samples))
        gain_db = self._gain_range_db * (2.0 * uniforms[:, 1, tf.newaxis, tf.newaxis] - 1.0)
        return segment * 10.0 ** (gain_db / 20.0)


def supervised_pairs(num_pairs: int, share: float) -> list[int]:
    """Which pairs of a replica's batch are supervised, at equal distances.

    As each replica holds a whole number of them, each has the same ones, and they are the same
    pairs of the global batch on any number of replicas.

    Raises:
      SepconError: the share is not a whole number of pairs.
    """
    exact = fractions.Fraction(share).limit_denominator(10_000)
    if (exact * num_pairs).denominator != 1:
        raise SepconError(
            f"supervised_share: got {share} with {num_pairs} pairs of clips per replica, expected "
            f"a whole number of pairs; choose a multiple of 1/{num_pairs} or another batch_size"
        )
    return [i for i in range(num_pairs) if (i + 1) * exact // 1 > i * exact // 1]


def _pairs_of(batch: dict[str, tf.Tensor], pairs: list[int]) -> dict[str, tf.Tensor]:
    """The rows of some pairs of a batch."""
    rows = [2 * pair + half for pair in pairs for half in (0, 1)]
    return {
        name: tf.bitcast(tf.gather(movable(value), rows), value.dtype)
        for name, value in batch.items()
    }


def _joined(parts: list[tf.Tensor]) -> tf.Tensor:
    return tf.concat(parts, axis=0) if len(parts) > 1 else parts[0]


def _rows(x: tf.Tensor) -> tf.Tensor | int:
    return tf.shape(x)[0] if x.shape[0] is None else x.shape[0]


def _shares(values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """This replica's shares of the means over all replicas, [example] -> [] each."""
    return {
        name: tf.reduce_sum(value) / tf.cast(_rows(value) * num_replicas(), tf.float32)
        for name, value in values.items()
    }


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
