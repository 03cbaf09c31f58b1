"""Clips as the examples of a stream that reads nothing of them but the patches of two views.

A step decides by uniforms, and uniforms are drawn before anything is read. So the plan of a view
sampler is made in the input pipeline: kinds and places from uniforms, channels from the energies
stored beside them, and then the drawn patches alone are read. Clips that are not stored as samples
(recordings that are decoded while training) are read whole, and cut there by the same plan.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from sepcon.data.channels import StoredChannels
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import crop_start, fit_length
from sepcon.data.examples import Example, Examples, ExamplesInRows, ReadExample
from sepcon.data.stored.clip_samples import ClipSamples
from sepcon.data.stored.frames import HOP_SAMPLES
from sepcon.errors import SepconError
from sepcon.views.sampler import ViewPlan, ViewSampler
from sepcon.views.whole_clips import WholeClips


def clip_patches(examples: ClipExamples, sampler: ViewSampler) -> Examples | ExamplesInRows:
    """Returns the patches that a sampler draws of clips, in place of the clips.

    An example holds `patches` int16 [2, patch_samples], anchor and positive, `id` and `labels`.
    The uniforms of the sampler must be the first of those that the task consumes.

    Args:
      examples: the clips, and the folders of their channels if the sampler needs any.
      sampler: draws the patches.

    Raises:
      SepconError: what is stored is not of frames of the sampler's length.
    """
    by_place = examples.clips.samples is not None
    if (by_place or sampler.needs_channels) and sampler.hop_samples != HOP_SAMPLES:
        raise SepconError(
            f"{examples.name}: energies are stored for every {HOP_SAMPLES} samples, but "
            f"ViewSampler.hop_samples is {sampler.hop_samples}; leave that as it is"
        )
    return (PatchesByPlace if by_place else PatchesOfWholeClips)(examples, sampler)


@dataclasses.dataclass(frozen=True)
class _ClipPatches:
    """What both kinds have in common; see `clip_patches`."""

    examples: ClipExamples
    sampler: ViewSampler

    @property
    def name(self) -> str:
        """Of the clips, and how they are cut: a run must not go on with other places."""
        hop = self.sampler.hop_samples
        return f"{self.examples.name}, in patches at multiples of {hop} samples"

    @property
    def earlier_name(self) -> str:
        """That of the clips: earlier versions cut patches at any sample, and did not say so."""
        return self.examples.earlier_name

    @property
    def num_examples(self) -> int:
        return self.examples.num_examples

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.examples.class_names

    @property
    def num_uniforms(self) -> int:
        return self.examples.num_uniforms

    @property
    def digest(self) -> str:
        """That of the clips."""
        return self.examples.digest

    @property
    def _channels(self) -> StoredChannels | None:
        return self.examples.stored_channels if self.sampler.needs_channels else None

    def _plan(
        self,
        of_mixture: Callable[[tf.Tensor], tf.Tensor],
        of_channels: Callable[[tf.Tensor], tf.Tensor],
        uniforms: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows and frames of anchor and positive, int64 [n, 2] each; see `PatchEnergies`."""
        first = self.num_uniforms
        plan: ViewPlan = self.sampler.plan(
            energies=_Energies(of_mixture, of_channels),
            num_places=self.sampler.num_places(self.examples.clip_samples),
            uniforms=uniforms[:, first : first + self.sampler.num_uniforms],
        )
        rows = tf.stack([plan.anchor_row, plan.positive_row], axis=1)
        starts = tf.stack([plan.anchor_start, plan.positive_start], axis=1)
        return _long(rows), _long(starts)

    def _channel_energies(
        self, positions: np.ndarray, state: np.ndarray, first: np.ndarray
    ) -> np.ndarray:
        """Energies of all channels in the patches that begin with a frame, float64 [n, channel]."""
        assert self._channels is not None
        states = self._channels.states(state)
        found = np.zeros((len(positions), self._channels.num_channels))
        for number in np.unique(states):
            here = states == number
            energies = self._channels.samples[number].energies(
                positions[here], first[here], self.sampler.patch_frames
            )
            found[here] = energies.sum(axis=1)
        return found

    def _read_channels(
        self,
        patches: np.ndarray,
        positions: np.ndarray,
        state: np.ndarray,
        rows: np.ndarray,
        first: np.ndarray,
    ) -> None:
        """Reads those of the patches int16 [n, 2, samples] that are of channels: rows above 0."""
        if self._channels is None:
            return
        states = self._channels.states(state)
        for number in np.unique(states):
            wanted = np.where((states == number)[:, np.newaxis], rows, 0) - 1
            self._channels.samples[number].cut(
                patches.reshape(-1, patches.shape[-1]),
                np.repeat(positions, 2),
                wanted.reshape(-1),
                first.reshape(-1),
            )


@dataclasses.dataclass(frozen=True)
class _Energies:
    """See `PatchEnergies`."""

    of_mixture: Callable[[tf.Tensor], tf.Tensor]
    of_channels: Callable[[tf.Tensor], tf.Tensor]


class PatchesByPlace(_ClipPatches):
    """Of clips that are stored as samples, patches are read and nothing else."""

    def row_reader(self) -> ReadExample:
        """See `ExamplesInRows`."""
        clips, samples = self._clips, self.examples.clip_samples
        self._check_ids()
        num_classes = len(self.class_names)

        def lengths(positions: np.ndarray) -> np.ndarray:
            return clips.lengths(positions)

        def read(positions: tf.Tensor, uniforms: tf.Tensor) -> Example:
            length = tf.ensure_shape(_in_numpy(lengths, [positions], tf.int64), [None])
            start = crop_start(length, samples, uniforms[:, 0], hop_samples=HOP_SAMPLES)
            window, state = start // HOP_SAMPLES, uniforms[:, 1]  # from here in frames
            rows, starts = self._plan(
                lambda place: tf.ensure_shape(
                    _in_numpy(
                        self._mixture_energies, [positions, window, _long(place)], tf.float64
                    ),
                    place.shape,
                ),
                lambda place: self._of_channels(positions, state, window + _long(place)),
                uniforms,
            )
            first = window[:, tf.newaxis] + starts
            patches, ids, labels = tf.numpy_function(
                self._read,
                [positions, state, rows, first],
                [tf.int16, tf.string, tf.float32],
                stateful=False,
            )
            return {
                "id": tf.ensure_shape(ids, [None]),
                "labels": tf.ensure_shape(labels, [None, num_classes]),
                "patches": tf.ensure_shape(patches, [None, 2, self.sampler.patch_samples]),
            }

        return read

    @functools.cached_property
    def _clips(self) -> ClipSamples:
        assert self.examples.clips.samples is not None
        return self.examples.clips.samples()

    def _check_ids(self) -> None:
        """Raises a SepconError unless the channels are those of the clips."""
        if self._channels is None:
            return
        ids = self._clips.ids(np.arange(self.num_examples))
        for state, samples in enumerate(self._channels.samples):
            for position in np.flatnonzero(samples.ids != ids)[:1]:
                self._channels.check_id(state, position, samples.ids[position], ids[position])

    def _of_channels(self, positions: tf.Tensor, state: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        assert self._channels is not None
        energies = _in_numpy(self._channel_energies, [positions, state, first], tf.float64)
        return tf.ensure_shape(energies, [None, self._channels.num_channels])

    def _mixture_energies(
        self, positions: np.ndarray, window: np.ndarray, places: np.ndarray
    ) -> np.ndarray:
        """Energies of the mixture in patches at some places each [n, places], float64."""
        records = np.repeat(self._clips.records[positions], places.shape[1])
        first = (window[:, np.newaxis] + places).reshape(-1)
        energies = self._clips.store.energies(records, first, self.sampler.patch_frames)
        return energies.sum(axis=(1, 2)).reshape(places.shape)

    def _read(
        self, positions: np.ndarray, state: np.ndarray, rows: np.ndarray, first: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patches int16 [n, 2, samples], ids and labels."""
        clips, length = self._clips, self.sampler.patch_samples
        patches = np.zeros((len(positions), 2, length), np.int16)
        clips.store.cut(
            patches.reshape(-1, length),
            np.repeat(clips.records[positions], 2),
            -rows.reshape(-1),  # 0 of a clip is its mixture; a channel is not read here
            first.reshape(-1),
        )
        self._read_channels(patches, positions, state, rows, first)
        return patches, clips.ids(positions), clips.labels(positions)


class PatchesOfWholeClips(_ClipPatches):
    """Clips that have to be decoded are read whole and cut in the pipeline."""

    def reader(self) -> ReadExample:
        """See `Examples`."""
        read_clip, samples = self.examples.read_clip(), self.examples.clip_samples
        hop = self.sampler.hop_samples
        if self._channels is not None:
            _ = self._channels.samples  # What is wrong with them is told at once.

        def read(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
            clip, crop = read_clip(position), uniforms[0]
            start = crop_start(tf.shape(clip["audio"])[-1], samples, crop, hop_samples=hop)
            audio = fit_length(clip["audio"], samples, crop, hop_samples=hop)
            whole = WholeClips(
                audio[tf.newaxis], None, self.sampler.patch_samples, hop, precision=tf.float64
            )
            window = _long(start // hop)
            position, identifier, state = clip["position"], clip["id"], uniforms[1]
            rows, starts = self._plan(
                whole.of_mixture,
                lambda place: self._of_channels(position, identifier, state, window + _long(place)),
                uniforms[tf.newaxis],
            )
            patches = tf.concat(
                [whole.cut(tf.zeros([1]), starts[:, side]) for side in (0, 1)], axis=0
            )
            if self._channels is not None:
                read_patches = _in_numpy(
                    self._read_one, [position, state, rows, window + starts], tf.int16
                )
                of_channels = tf.ensure_shape(read_patches, patches.shape)
                patches = tf.where(tf.transpose(rows) > 0, of_channels, patches)
            return {"id": clip["id"], "labels": clip["labels"], "patches": patches}

        return read

    def _of_channels(
        self, position: tf.Tensor, identifier: tf.Tensor, state: tf.Tensor, first: tf.Tensor
    ) -> tf.Tensor:
        assert self._channels is not None
        energies = _in_numpy(
            self._energies_of_one, [position, identifier, state, first], tf.float64
        )
        return tf.ensure_shape(energies, [1, self._channels.num_channels])

    def _energies_of_one(
        self, position: np.ndarray, identifier: bytes, state: np.ndarray, first: np.ndarray
    ) -> np.ndarray:
        assert self._channels is not None
        number, place = int(self._channels.states(state)), int(position)
        stored = self._channels.samples[number].ids[place]
        self._channels.check_id(number, place, stored, identifier)
        return self._channel_energies(np.reshape(position, 1), np.reshape(state, 1), first)

    def _read_one(
        self, position: np.ndarray, state: np.ndarray, rows: np.ndarray, first: np.ndarray
    ) -> np.ndarray:
        patches = np.zeros((1, 2, self.sampler.patch_samples), np.int16)
        self._read_channels(patches, np.reshape(position, 1), np.reshape(state, 1), rows, first)
        return patches[0]


def _in_numpy(function: Callable, inputs: list[tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    return tf.numpy_function(function, inputs, dtype, stateful=False)


def _long(value: tf.Tensor) -> tf.Tensor:
    return tf.cast(value, tf.int64)
