"""What can stand beside the mixture of a scene: channels of a separator, and controls of them.

Each kind of views has patches of log-mel and an energy for each patch. The controls tell what of a
gain is separation: random masks with the energies of a separator's channels, random filters of the
mixture (as many views, which hold all that sounds), and the sources that the scene was mixed from.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd
from sepcon.data.clips import to_float
from sepcon.models.products.channel_pooling import audible
from sepcon.models.products.patch_embedder import patch_starts
from sepcon.models.separator.network import Separator
from sepcon.separation.control_kinds import FILTERED_VIEWS, MASKED_VIEWS, SOURCE_VIEWS
from sepcon.separation.random_masks import RandomMasks
from sepcon.views.augment import RandomEqualization


@dataclasses.dataclass(frozen=True)
class Patches:
    """How a clip is cut, as `PatchEmbedder` does it.

    Attributes:
      starts: sample at which each patch begins.
      samples: of a patch.
    """

    starts: tuple[int, ...]
    samples: int

    @classmethod
    def of_clips(
        cls, clip_samples: int, log_mel: FrontEnd, *, patch_seconds: float, hop_seconds: float
    ) -> Patches:
        """Returns the patches of clips of one length.

        Args:
          clip_samples: their length.
          log_mel: the front-end, on whose frames patches begin.
          patch_seconds: length of a patch.
          hop_seconds: time between the starts of two.
        """
        rate, hop = log_mel.sample_rate_hz, log_mel.hop_samples
        samples = round(patch_seconds * rate)
        starts, _ = patch_starts(
            tf.constant(clip_samples),
            patch_samples=samples,
            frame_hop=hop,
            hop_frames=max(1, round(hop_seconds * rate / hop)),
            patch_frames=log_mel.num_frames(samples),
        )
        return cls(tuple(int(start) * hop for start in starts), samples)

    def cut(self, waveform: tf.Tensor) -> tf.Tensor:
        """[..., samples] to [..., patches, patch samples], padded with zeros at the end."""
        missing = max(0, self.starts[-1] + self.samples - waveform.shape[-1])
        padded = tf.pad(waveform, [[0, 0]] * (waveform.shape.rank - 1) + [[0, missing]])
        return tf.stack([padded[..., at : at + self.samples] for at in self.starts], axis=-2)


@dataclasses.dataclass(frozen=True)
class Views:
    """The views of a batch of scenes of one kind.

    Attributes:
      energy: [scenes, view, patches] float32, by which views are left out.
      log_mel: [n, frames, mels] float32 of those that are audible, in the order of `where`.
      where: [n, 3] int64: scene, view and patch of each.
    """

    energy: np.ndarray
    log_mel: tf.Tensor
    where: np.ndarray


@dataclasses.dataclass(frozen=True)
class SceneViews:
    """Makes all kinds of views of scenes.

    Attributes:
      separators: the states of a separator by name, each a kind of views.
      reference: the state whose energies random masks and random filters take over, so that as
        many of their views count.
      log_mel: the front-end.
      patches: how clips are cut.
      lowest_share: views below this share of the loudest one are not made at all.
      seed: of masks and filters; each scene has its own.
      masks: how smooth the random masks are.
      filters: how strong the random filters are; their loss of level is that of pretraining.
    """

    separators: Mapping[str, Separator]
    reference: str
    log_mel: FrontEnd
    patches: Patches
    lowest_share: float
    seed: int = 0
    masks: RandomMasks = dataclasses.field(default_factory=RandomMasks)
    filters: RandomEqualization = dataclasses.field(default_factory=RandomEqualization)

    def of_mixture(self, audio: tf.Tensor) -> tf.Tensor:
        """Log-mel [scenes * patches, frames, mels] of scenes, int16 [scenes, samples]."""
        waveforms = self.patches.cut(to_float(audio))
        return self._of_patches(tf.reshape(waveforms, [-1, self.patches.samples]))

    def __call__(
        self, audio: tf.Tensor, sources: tf.Tensor, positions: Sequence[int]
    ) -> Iterator[tuple[str, Views]]:
        """Yields every kind of views of a batch of scenes, with its name.

        Args:
          audio: [scenes, samples] int16.
          sources: [scenes, source, samples] int16.
          positions: numbers of the scenes, which their random masks and filters depend on.
        """
        mixture, reference = to_float(audio), tf.zeros([0])
        for name, separator in self.separators.items():
            channels = self._separated(name, separator, mixture)
            reference = channels if name == self.reference else reference
            yield name, self._of_channels(channels)
        yield FILTERED_VIEWS, self._filtered(audio, reference, positions)
        yield MASKED_VIEWS, self._of_channels(self._masked(mixture, reference, positions))
        yield SOURCE_VIEWS, self._of_channels(to_float(sources))

    def _of_channels(self, channels: tf.Tensor) -> Views:
        waveforms = self.patches.cut(channels)  # [scenes, view, patches, samples]
        energy = tf.reduce_sum(tf.square(waveforms), axis=-1)
        where = self._audible(energy)
        return Views(energy.numpy(), self._of_patches(tf.gather_nd(waveforms, where)), where)

    def _filtered(self, audio: tf.Tensor, reference: tf.Tensor, positions: Sequence[int]) -> Views:
        """Each view of a scene is the mixture through one random filter."""
        log_mel = self.of_mixture(audio)
        scenes, views = reference.shape[0], reference.shape[1]
        log_mel = tf.reshape(log_mel, [scenes, len(self.patches.starts), *log_mel.shape[1:]])
        energy = tf.reduce_sum(tf.square(self.patches.cut(reference)), axis=-1)
        where = self._audible(energy)
        uniforms = np.stack(
            [
                self._random(1, position).random((views, self.filters.num_uniforms), np.float32)
                for position in positions
            ]
        )
        of_patches = tf.gather_nd(log_mel, where[:, [0, 2]])
        filtered = self.filters(of_patches, tf.gather_nd(tf.constant(uniforms), where[:, :2]))
        return Views(energy.numpy(), filtered, where)

    def _masked(
        self, mixture: tf.Tensor, reference: tf.Tensor, positions: Sequence[int]
    ) -> tf.Tensor:
        samples = mixture.shape[-1]
        shape = (
            reference.shape[1],
            self.masks.num_time_knots(samples),
            self.masks.num_frequency_knots,
        )
        normals = [self._random(0, at).standard_normal(shape, np.float32) for at in positions]
        energies = tf.reduce_sum(tf.square(reference), axis=-1)
        return self._graph("masks", self.masks)(
            mixture=mixture, energies=energies, normals=tf.constant(np.stack(normals))
        )

    def _separated(self, name: str, separator: Separator, mixture: tf.Tensor) -> tf.Tensor:
        return self._graph(name, lambda waveform: separator(waveform, training=False))(mixture)

    def _of_patches(self, waveforms: tf.Tensor) -> tf.Tensor:
        return self._graph("log_mel", self.log_mel)(waveforms)

    def _audible(self, energy: tf.Tensor) -> np.ndarray:
        heard = audible(tf.transpose(energy, [0, 2, 1]), self.lowest_share)
        return tf.where(tf.transpose(heard, [0, 2, 1])).numpy()

    def _random(self, what: int, position: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, what, position])

    def _graph(self, name: str, function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        if name not in self._graphs:
            self._graphs[name] = tf.function(function, autograph=False, reduce_retracing=True)
        return self._graphs[name]

    @functools.cached_property
    def _graphs(self) -> dict[str, Callable[..., tf.Tensor]]:
        return {}
