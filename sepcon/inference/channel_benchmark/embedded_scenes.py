"""Embeds all views of scenes with several encoders at once, shard by shard, and reads them back.

What is the same for all encoders, separation above all, is done once for each scene. A shard is one
.npz file that appears whole; a killed run goes on with those that are missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from sepcon.data.clips import ClipDataset, subset, with_sources
from sepcon.errors import SepconError
from sepcon.inference.channel_benchmark.scene_views import SceneViews
from sepcon.runs.json_file import DAMAGE
from sepcon.runs.progress import Progress
from sepcon.runs.whole_file import told_if_unwritable, write_arrays

_MIXTURE = "mixture"

_Encode = Callable[[tf.Tensor], tf.Tensor]
_Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Bag:
    """The embeddings of scenes and of one kind of views of them.

    Attributes:
      mixture: [scenes, patches, dim] float32.
      views: [scenes, patches, view, dim] float32, zeros for what was not made.
      energy: [scenes, patches, view] float32.
    """

    mixture: np.ndarray
    views: np.ndarray
    energy: np.ndarray

    def select(self, positions: np.ndarray) -> Bag:
        """Returns the scenes at some positions, integer [n]."""
        return Bag(self.mixture[positions], self.views[positions], self.energy[positions])


@dataclasses.dataclass(frozen=True)
class EmbeddedScenes:
    """The embedded scenes of a split.

    Attributes:
      paths: of the shards.
      encoders: names, in their order on disk.
      ids: [scenes] text.
      labels: [scenes, classes] uint8.
      class_names: of the labels.
      num_sources: [scenes] how many sources sound in each.
    """

    paths: tuple[Path, ...]
    encoders: tuple[str, ...]
    ids: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    num_sources: np.ndarray

    def bag(self, encoder: str, kind: str) -> Bag:
        """Reads the embeddings of one encoder, and of one kind of views."""
        number = self.encoders.index(encoder)
        return _joined([_read_bag(path, number, kind) for path in self.paths])

    def mixture(self, encoder: str) -> np.ndarray:
        """Reads the embeddings [scenes, dim] of the mixtures alone, means over their patches."""
        number = self.encoders.index(encoder)
        parts = []
        for path in self.paths:
            with np.load(path) as arrays:
                parts.append(arrays[_name(_MIXTURE, number)].astype(np.float32).mean(axis=1))
        return np.concatenate(parts)


def embed_scenes(
    folder: Path,
    scenes: ClipDataset,
    views: SceneViews,
    encoders: Mapping[str, keras.Model],
    *,
    title: str,
    shard_size: int = 200,
    batch_size: int = 8,
) -> EmbeddedScenes:
    """Embeds scenes and all their views, as far as `folder` does not have them.

    Args:
      folder: of these scenes, views and encoders alone.
      scenes: with sources, of one length.
      views: what is made of them.
      encoders: name -> network; all with the front-end of the views.
      title: what the progress bar says.
      shard_size: scenes in a file.
      batch_size: scenes that are separated at a time.

    Raises:
      SepconError: the sources of the scenes are not known, an embedding is not finite, or the
        folder cannot be written.
    """
    with told_if_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, scenes.num_clips, shard_size)
    paths = tuple(folder / f"scenes-{start:06d}.npz" for start in starts)
    missing = [
        (start, path) for start, path in zip(starts, paths, strict=True) if not _is_whole(path)
    ]
    done = scenes.num_clips - sum(min(shard_size, scenes.num_clips - at) for at, _ in missing)
    encode = _encode_all(list(encoders.values()))
    with Progress(scenes.num_clips, title, unit="scene", initial=done) as progress:
        for start, path in missing:
            count = min(shard_size, scenes.num_clips - start)
            part = subset(scenes, num_clips=count, start=start)
            batches = []
            for number, batch in enumerate(with_sources(part).batch(batch_size)):
                first = start + number * batch_size
                batches.append(_embedded_batch(batch, first, views, encode, len(encoders)))
                progress.advance(len(batches[-1]["ids"]))
            write_arrays(path, _shard(batches))
    return _opened(paths, tuple(encoders), scenes.class_names)


def _encode_all(encoders: Sequence[keras.Model]) -> _Encode:
    """Returns a function of log-mel [n, frames, mels] that gives [encoder, n, dim]."""
    dims = {int(encoder.output_shape[-1]) for encoder in encoders}
    if len(dims) > 1:
        raise SepconError(f"the encoders differ in the size of their embeddings: {sorted(dims)}")

    @tf.function(autograph=False, reduce_retracing=True)
    def encode(log_mel: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.cast(each(log_mel, training=False), tf.float32) for each in encoders])

    return encode


def _name(kind: str, encoder: int) -> str:
    return f"{kind.replace(' ', '_')}-{encoder}"


def _embedded_batch(
    batch: Mapping[str, tf.Tensor],
    first: int,
    views: SceneViews,
    encode: _Encode,
    num_encoders: int,
) -> _Arrays:
    """The arrays of a batch; those of rows say by `where` of which scene of the batch they are."""
    audio, sources = batch["audio"], batch["sources"]
    scenes = len(audio)
    arrays = {
        "ids": batch["id"].numpy().astype(np.str_),
        "labels": (batch["labels"].numpy() > 0.5).astype(np.uint8),
        "num_sources": (sources.numpy() != 0).any(axis=2).sum(axis=1),
    }
    embedded = encode(views.of_mixture(audio)).numpy()
    for encoder in range(num_encoders):
        of_mixture = embedded[encoder].reshape(scenes, len(views.patches.starts), -1)
        arrays[_name(_MIXTURE, encoder)] = _half(of_mixture)
    positions = range(first, first + scenes)
    for kind, each in views(audio, sources, positions):
        rows = encode(each.log_mel).numpy()
        arrays[f"{kind.replace(' ', '_')}-energy"] = each.energy
        arrays[f"{kind.replace(' ', '_')}-where"] = each.where.astype(np.int32)
        for encoder in range(num_encoders):
            arrays[_name(kind, encoder)] = _half(rows[encoder])
    return arrays


def _half(embedding: np.ndarray) -> np.ndarray:
    """In half precision, which is exact to 0.05 %: what is measured ranks scenes."""
    half = embedding.astype(np.float16)
    if not np.isfinite(half).all():
        raise SepconError("an embedding is not finite: the encoder is broken, or diverged")
    return half


def _shard(batches: Sequence[_Arrays]) -> _Arrays:
    """Puts batches together; `where` counts the scenes of the shard."""
    first = np.cumsum([0, *(len(batch["ids"]) for batch in batches)])
    for batch, at in zip(batches, first, strict=False):
        for name in batch:
            if name.endswith("-where"):
                batch[name] = batch[name] + np.array([at, 0, 0], np.int32)
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _is_whole(path: Path) -> bool:
    """Whether a shard is there; what is damaged is made again."""
    try:
        with np.load(path) as arrays:
            return "num_sources" in arrays
    except DAMAGE:
        return False


def _opened(
    paths: tuple[Path, ...], encoders: tuple[str, ...], class_names: tuple[str, ...]
) -> EmbeddedScenes:
    parts = []
    for path in paths:
        with np.load(path) as arrays:
            parts.append([arrays[name] for name in ("ids", "labels", "num_sources")])
    ids, labels, num_sources = (np.concatenate(part) for part in zip(*parts, strict=True))
    return EmbeddedScenes(paths, encoders, ids, labels, class_names, num_sources)


def _read_bag(path: Path, encoder: int, kind: str) -> Bag:
    name = kind.replace(" ", "_")
    with np.load(path) as arrays:
        mixture = arrays[_name(_MIXTURE, encoder)].astype(np.float32)
        energy = arrays[f"{name}-energy"].transpose(0, 2, 1)  # [scenes, patches, view]
        scene, view, patch = arrays[f"{name}-where"].T
        views = np.zeros((*energy.shape, mixture.shape[-1]), np.float32)
        views[scene, patch, view] = arrays[_name(kind, encoder)]
    return Bag(mixture, views, energy)


def _joined(bags: list[Bag]) -> Bag:
    names = [field.name for field in dataclasses.fields(Bag)]
    return Bag(*(np.concatenate([getattr(bag, name) for bag in bags]) for name in names))
