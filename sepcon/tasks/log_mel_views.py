"""From a batch of clips to augmented log-mel patches: the views of sound."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import to_float
from sepcon.data.examples import Examples, ExamplesInRows
from sepcon.errors import SepconError
from sepcon.models.encoder_files import save_encoder_config
from sepcon.models.separator.network import load_separator
from sepcon.training.task import Summaries
from sepcon.views.augment import Augmentation, Chain, split_uniforms
from sepcon.views.clip_patches import clip_patches
from sepcon.views.example_mixing import ExampleMixing
from sepcon.views.sampler import Views, ViewSampler
from sepcon.views.separator_front_end import SeparatorFrontEnd

_MAX_SUMMARIES = 4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LogMelViews:
    """Two patches of each clip, mixed, transformed and augmented; see `BatchViews`.

    A batch holds 'uniforms' float32 [batch, num_uniforms], and 'patches' int16 [batch, 2, patch
    samples], as the sampler has drawn them where they were read. A front-end makes channels of
    whole clips: then it holds 'audio' int16 [batch, samples] and 'state_uniform' float32 [batch],
    and the sampler draws from them on the device, by the same rule. It may bring 'channels' int16
    [batch, channel, samples] itself.

    Attributes:
      sampler: draws the pairs of patches.
      log_mel: what the encoder sees of them.
      anchor_augmentations: applied to the log-mel patches of the anchors, in this order.
      positive_augmentations: the same for the positives.
      waveform_augmentations: applied to the waveforms of both patches first, in this order; of a
        result of another length the beginning is taken, or zeros follow it.
      example_mixing: applied to the waveforms of both patches next; None for none.
      separators: makes channels on the fly, in place of stored ones: (run folder, step or None for
        the last) of each separator. Each sees every batch: several cost as many times as much.
      front_end: these separators, once `opened` has loaded them. Their channels are the stored ones
        to within the rounding of what is stored.
    """

    sampler: ViewSampler
    log_mel: FrontEnd
    anchor_augmentations: Sequence[Augmentation] = ()
    positive_augmentations: Sequence[Augmentation] = ()
    waveform_augmentations: Sequence[Augmentation] = ()
    example_mixing: ExampleMixing | None = None
    separators: Sequence[tuple[str, int | None]] = ()
    front_end: SeparatorFrontEnd | None = None

    def __post_init__(self) -> None:
        if self.sampler.sample_rate_hz != self.log_mel.sample_rate_hz:
            raise ValueError(
                f"sampler.sample_rate_hz={self.sampler.sample_rate_hz} differs from "
                f"log_mel.sample_rate_hz={self.log_mel.sample_rate_hz}; bind both to one rate"
            )

    @property
    def num_uniforms(self) -> int:
        return sum(self._widths)

    @property
    def encoder_arguments(self) -> Mapping[str, int]:
        """`num_frames` and `num_mels` of a patch, and `num_maps` where there are several."""
        num_frames = self.log_mel.num_frames(self.sampler.patch_samples)
        shape = {"num_frames": num_frames, "num_mels": self.log_mel.num_mels}
        return shape if self.log_mel.num_maps == 1 else {**shape, "num_maps": self.log_mel.num_maps}

    def opened(self, examples: Examples) -> LogMelViews:
        """Checks that clips have what is needed, and loads the separators.

        Raises:
          SepconError: the examples are no clips, of another sample rate, shorter than a patch, or
            have no channels where some are needed; or a separator cannot be loaded.
        """
        if not isinstance(examples, ClipExamples):
            raise SepconError(
                f"{examples.name}: LogMelViews are made of clips, got {type(examples).__name__}; "
                "bind ClipExamples, or the views of that kind of example"
            )
        _check_channels(self, examples.channels)
        _check_audio(self, examples)
        if not self.separators:
            return self
        loaded = [load_separator(run, step) for run, step in self.separators]
        return dataclasses.replace(self, front_end=SeparatorFrontEnd(loaded))

    def drawn_from(self, examples: Examples, *, plain: bool = False) -> Examples | ExamplesInRows:
        """See `BatchViews`: patches, but for a front-end whole clips."""
        assert isinstance(examples, ClipExamples), "see `opened`"
        sampler = self._plain_sampler if plain else self.sampler
        if sampler.needs_channels and self.front_end is not None:
            return dataclasses.replace(examples, hop_samples=sampler.hop_samples)
        return clip_patches(examples, sampler)

    def __call__(self, batch: dict[str, tf.Tensor]) -> Views:
        """The augmented log-mel patches of both views, each [batch, frames, mels] float32."""
        return Views(*self._log_mels(batch, 2))

    def single(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The first view alone, [batch, frames, mels] float32: the same as that of both together.

        It costs half as much as both.
        """
        return self._log_mels(batch, 1)[0]

    def _log_mels(self, batch: dict[str, tf.Tensor], count: int) -> list[tf.Tensor]:
        """The log-mel patches of the first `count` views."""
        to_sampler, to_anchor, to_positive, *rest = split_uniforms(batch["uniforms"], self._widths)
        to_mixing, to_waveform = rest[:2], rest[2:]
        waveforms = list(self._patches(batch, self.sampler, to_sampler)[:count])
        augment_waveform, *augment = self._chains
        if augment_waveform.num_uniforms:
            waveforms = [
                _cut_or_pad(augment_waveform(*pair), self.sampler.patch_samples)
                for pair in zip(waveforms, to_waveform, strict=False)
            ]
        if self.example_mixing is not None:
            mix = self.example_mixing
            waveforms = [mix(*pair) for pair in zip(waveforms, to_mixing, strict=False)]
        log_mels = self.log_mel(tf.concat(waveforms, axis=0))  # [count * batch, frames, mels]
        uniforms = (to_anchor, to_positive)
        return [
            augment[side](log_mel, uniforms[side])
            for side, log_mel in enumerate(tf.split(log_mels, count, axis=0))
        ]

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """The first examples of a batch [batch, ...]: patches as pictures and as sounds.

        The sounds are those before augmentation; of whole clips they are mixture and channels.
        """
        batch = {name: value[:_MAX_SUMMARIES] for name, value in batch.items()}
        log_mels = self(batch)
        if "patches" in batch:
            patches = to_float(batch["patches"])
            sounds = {"anchor": patches[:, 0], "positive": patches[:, 1]}
        else:
            mixture, channels = self._clips(batch)
            of_channels = [] if channels is None else tf.unstack(channels, axis=1)
            sounds = {"mixture": mixture}
            sounds |= {f"channel_{number}": each for number, each in enumerate(of_channels)}
        rate = self.log_mel.sample_rate_hz
        return Summaries(
            audio={name: (sound, rate) for name, sound in sounds.items()},
            images={name: _picture(value) for name, value in log_mels._asdict().items()},
        )

    def plain(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Log-mel patches of the mixtures without augmentation, [batch, frames, mels] float32.

        They lie where the anchors of the views lie.
        """
        uniforms = split_uniforms(batch["uniforms"], self._widths)[0]
        return self.log_mel(self._patches(batch, self._plain_sampler, uniforms).anchor)

    def save_description(self, run_dir: str | Path, encoder: keras.Model) -> None:
        """Writes model.json with the encoder, the log-mel front-end and the length of a patch."""
        save_encoder_config(
            run_dir=run_dir,
            encoder=encoder,
            log_mel=self.log_mel,
            patch_seconds=self.sampler.patch_seconds,
        )

    @property
    def _chains(self) -> tuple[Chain, Chain, Chain]:
        """The augmentations of waveforms, of anchors and of positives."""
        return (
            Chain(tuple(self.waveform_augmentations)),
            Chain(tuple(self.anchor_augmentations)),
            Chain(tuple(self.positive_augmentations)),
        )

    @property
    def _widths(self) -> list[int]:
        waveform, anchor, positive = (chain.num_uniforms for chain in self._chains)
        mixing = self.example_mixing.num_uniforms if self.example_mixing else 0
        of_sampler = self.sampler.num_uniforms
        return [of_sampler, anchor, positive, mixing, mixing, waveform, waveform]

    @property
    def _plain_sampler(self) -> ViewSampler:
        """Draws the anchors' places, and takes the mixture there."""
        return dataclasses.replace(self.sampler, pairs=("mixture-mixture",))

    def _patches(
        self, batch: dict[str, tf.Tensor], sampler: ViewSampler, uniforms: tf.Tensor
    ) -> Views:
        """The waveforms of both patches, [batch, patch samples] float32 each."""
        if "patches" in batch:
            return Views(*tf.unstack(to_float(batch["patches"]), axis=1))
        mixture, channels = self._clips(batch, with_channels=sampler.needs_channels)
        return sampler(mixture=mixture, channels=channels, uniforms=uniforms)

    def _clips(
        self, batch: dict[str, tf.Tensor], *, with_channels: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Mixture [batch, samples] and, if needed, channels [batch, channel, samples], float32."""
        mixture = to_float(batch["audio"])
        if not (with_channels and self.sampler.needs_channels):
            return mixture, None
        if self.front_end is not None:
            return mixture, self.front_end(mixture, batch["state_uniform"])
        return mixture, to_float(batch["channels"]) if "channels" in batch else None


def _check_channels(views: LogMelViews, stored: Sequence[str]) -> None:
    """Raises a SepconError unless the views have just one place to take their channels from."""
    separators, pairs = views.separators, ", ".join(views.sampler.pairs)
    if stored and separators:
        raise SepconError("give either channels (stored) or separators (on the fly), got both")
    if views.sampler.needs_channels and not stored and not separators:
        raise SepconError(
            f"views of {pairs} need separated channels: bind CHANNELS to folders of "
            "`sepcon separate`, or SEPARATORS to separators"
        )
    if not views.sampler.needs_channels and (stored or separators):
        raise SepconError(
            f"views of {pairs} take no separated channels, got {list(stored or separators)}: leave "
            "them out, or give a file of views/ that takes them, such as "
            "views/mixture_channel_equalized.gin"
        )


def _check_audio(views: LogMelViews, examples: ClipExamples) -> None:
    """Raises a SepconError unless clips have the rate of the front-end and hold a patch."""
    clips, rate, patch = examples.clips, views.log_mel.sample_rate_hz, views.sampler.patch_samples
    if clips.sample_rate_hz != rate:
        raise SepconError(
            f"{clips.name}: clips are at {clips.sample_rate_hz} Hz, but the front-end wants "
            f"{rate} Hz; bind both to one rate"
        )
    if examples.clip_samples < patch:
        raise SepconError(
            f"{clips.name}: clips of {examples.clip_samples} samples are shorter than a patch of "
            f"{patch}; take a shorter PATCH_SECONDS"
        )


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
