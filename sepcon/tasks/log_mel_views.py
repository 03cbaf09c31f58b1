"""From a batch of clips to augmented log-mel patches: what all tasks on an encoder begin with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.data.clips import to_float
from sepcon.models.encoders import recalibrate_batch_norm
from sepcon.training.task import Summaries
from sepcon.views.augment import Augmentation, Chain, split_uniforms
from sepcon.views.example_mixing import ExampleMixing
from sepcon.views.sampler import Views, ViewSampler
from sepcon.views.separator_front_end import SeparatorFrontEnd

_MAX_SUMMARIES = 4


class LogMelViews:
    """Cuts two patches of each clip, mixes, transforms and augments them.

    A batch holds 'audio' int16 [batch, samples], 'uniforms' float32 [batch, num_uniforms], and
    where the view sampler needs channels 'channels' int16 [batch, channel, samples] or, for a
    front-end to make them, 'state_uniform' float32 [batch].

    Args:
      log_mel: the front-end of the encoder.
      views: draws the pairs of patches.
      anchor_augmentations: applied to the log-mel patches of the anchors, in this order.
      positive_augmentations: the same for the positives.
      waveform_augmentations: applied to the waveforms of both patches first, in this order; of a
        result of another length the beginning is taken, or zeros follow it.
      example_mixing: applied to the waveforms of both patches next; None for none.
      front_end: makes channels on the fly, in place of 'channels' in the batch: the same to within
        the rounding of what is stored.
    """

    def __init__(
        self,
        *,
        log_mel: LogMel,
        views: ViewSampler,
        anchor_augmentations: Sequence[Augmentation] = (),
        positive_augmentations: Sequence[Augmentation] = (),
        waveform_augmentations: Sequence[Augmentation] = (),
        example_mixing: ExampleMixing | None = None,
        front_end: SeparatorFrontEnd | None = None,
    ) -> None:
        if views.sample_rate_hz != log_mel.sample_rate_hz:
            raise ValueError(
                f"views.sample_rate_hz={views.sample_rate_hz} differs from "
                f"log_mel.sample_rate_hz={log_mel.sample_rate_hz}"
            )
        self._log_mel = log_mel
        self._views = views
        self._augment_anchor = Chain(tuple(anchor_augmentations))
        self._augment_positive = Chain(tuple(positive_augmentations))
        self._augment_waveform = Chain(tuple(waveform_augmentations))
        self._mix = example_mixing
        self._front_end = front_end if views.needs_channels else None
        of_mixing = self._mix.num_uniforms if self._mix else 0
        self._widths = [
            views.num_uniforms,
            self._augment_anchor.num_uniforms,
            self._augment_positive.num_uniforms,
            of_mixing,
            of_mixing,
            self._augment_waveform.num_uniforms,
            self._augment_waveform.num_uniforms,
        ]

    @property
    def num_uniforms(self) -> int:
        return sum(self._widths)

    def __call__(self, batch: dict[str, tf.Tensor]) -> Views:
        """The augmented log-mel patches of both views, each [batch, frames, mels] float32."""
        return Views(*self._log_mels(batch, 2))

    def single(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Those of the first view alone, at half the cost: what one draws, both together draw."""
        return self._log_mels(batch, 1)[0]

    def _log_mels(self, batch: dict[str, tf.Tensor], count: int) -> list[tf.Tensor]:
        """The log-mel patches of the first `count` views."""
        to_views, to_anchor, to_positive, *rest = split_uniforms(batch["uniforms"], self._widths)
        to_mixing, to_waveform = rest[:2], rest[2:]
        # What is read as int16 stays int16 until it is cut: that halves the memory to move.
        mixture, channels = self._clips(batch)
        views = self._views(mixture=mixture, channels=channels, uniforms=to_views)[:count]
        waveforms = [_as_float(view) for view in views]
        if self._augment_waveform.num_uniforms:
            waveforms = [
                _cut_or_pad(self._augment_waveform(*each), self._views.patch_samples)
                for each in zip(waveforms, to_waveform, strict=False)
            ]
        if self._mix is not None:
            waveforms = [self._mix(*each) for each in zip(waveforms, to_mixing, strict=False)]
        log_mels = self._log_mel(tf.concat(waveforms, axis=0))  # [count * batch, frames, mels]
        augment = (self._augment_anchor, self._augment_positive)
        uniforms = (to_anchor, to_positive)
        return [
            augment[place](log_mel, uniforms[place])
            for place, log_mel in enumerate(tf.split(log_mels, count, axis=0))
        ]

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """The first examples of a batch: patches as pictures, mixture and channels as sound."""
        batch = {name: value[:_MAX_SUMMARIES] for name, value in batch.items()}
        log_mels = self(batch)
        mixture, channels = self._clips(batch)
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

    def recalibrate(self, encoder: keras.Model, batches: Iterable[dict[str, tf.Tensor]]) -> int:
        """Takes the encoder's batch normalisation statistics anew, on plain patches of mixtures.

        To be called once after training, for evaluation sees nothing but mixtures. Runs outside of
        any strategy and is a pure function of weights and batches.

        Args:
          encoder: changed in place.
          batches: some dozens of batches of the training stream.

        Returns:
          the number of batches seen.
        """
        patches = tf.function(self._plain, autograph=False)
        return recalibrate_batch_norm(encoder, map(patches, batches))

    def _plain(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Unaugmented log-mel patches of the mixtures, where the anchors lie."""
        sampler = dataclasses.replace(self._views, pairs=("mixture-mixture",))
        uniforms = split_uniforms(batch["uniforms"], self._widths)[0]
        views = sampler(mixture=batch["audio"], channels=None, uniforms=uniforms)
        return self._log_mel(_as_float(views.anchor))

    def _clips(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Mixture [batch, samples] and, if needed, channels [batch, channel, samples].

        Both are float32 if a front-end makes the channels, else int16 as they were read.
        """
        if self._front_end is not None:
            mixture = to_float(batch["audio"])
            return mixture, self._front_end(mixture, batch["state_uniform"])
        return batch["audio"], batch.get("channels") if self._views.needs_channels else None


def _as_float(audio: tf.Tensor) -> tf.Tensor:
    return to_float(audio) if audio.dtype == tf.int16 else audio


def _cut_or_pad(waveform: tf.Tensor, length: int) -> tf.Tensor:
    """The first `length` samples of [batch, samples], whose number is static."""
    missing = max(0, length - waveform.shape[-1])
    return tf.pad(waveform[:, :length], [[0, 0], [0, missing]])


def _picture(log_mel: tf.Tensor) -> tf.Tensor:
    """Log-mel patches as pictures with low frequencies below, [n, mels, frames, 1] in [0, 1]."""
    low = tf.reduce_min(log_mel, axis=[1, 2], keepdims=True)
    high = tf.reduce_max(log_mel, axis=[1, 2], keepdims=True)
    scaled = tf.math.divide_no_nan(log_mel - low, high - low)
    return tf.reverse(tf.transpose(scaled, [0, 2, 1]), axis=[1])[..., tf.newaxis]
