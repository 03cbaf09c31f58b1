"""Embeds the clips of a data set into a store on disk, shard by shard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.audio.resampling import resampled
from sepcon.data.clips import ClipDataset, to_float
from sepcon.embeddings.embedder import ClipEmbedder
from sepcon.embeddings.store import EmbeddingStore, EmbeddingWriter, StoreLayout
from sepcon.errors import SepconError
from sepcon.runs.progress import Progress

# A batch of long recordings is cut to this many samples (17 minutes), and clips of odd lengths
# wait for others of theirs until this many samples are waiting: the bound on memory.
_MAX_SAMPLES = 1 << 24

Clip = dict[str, Any]


def write_embeddings(
    *,
    folder: str | Path,
    embedder: ClipEmbedder,
    clips: ClipDataset,
    batch_size: int = 32,
    shard_size: int = 1024,
    patches: bool = False,
    description: str = "embed",
    on_start: Callable[[], object] = lambda: None,
) -> EmbeddingStore:
    """Embeds the clips of all shards that are not in a store yet, and marks it as finished.

    Clips of another sample rate than the model's are resampled.

    Args:
      folder: the store.
      embedder: the model.
      clips: what to embed.
      batch_size: clips of equal length embedded at a time.
      shard_size: clips per file.
      patches: whether to keep an embedding of each patch, not only of each clip.
      description: what the progress bar says.
      on_start: called when the folder was found to be one of these embeddings.

    Returns:
      The finished store.

    Raises:
      SepconError: there is no clip, an embedding is not finite, or the folder holds other
        embeddings or cannot be written.
    """
    if clips.num_clips < 1:
        raise SepconError(f"{clips.name} holds no clip: nothing to embed")
    layout = StoreLayout(
        dataset=clips.name,
        model=embedder.fingerprint,
        class_names=clips.class_names,
        num_clips=clips.num_clips,
        shard_size=shard_size,
        patches=patches,
        digest=clips.digest,
    )
    writer = EmbeddingWriter(folder, layout)
    on_start()
    missing = set(writer.missing_shards())
    if missing:
        _write_missing(writer, missing, embedder, clips, batch_size, description)
    return writer.finish()


def _write_missing(
    writer: EmbeddingWriter,
    missing: set[int],
    embedder: ClipEmbedder,
    clips: ClipDataset,
    batch_size: int,
    description: str,
) -> None:
    layout = writer.layout
    first = min(missing)
    done = clips.num_clips - sum(layout.clips_in(shard) for shard in missing)
    elements = iter(clips.build().skip(first * layout.shard_size).as_numpy_iterator())
    with Progress(clips.num_clips, description, unit="clip", initial=done) as progress:
        for shard in range(first, layout.num_shards):
            part = _take(elements, layout.clips_in(shard), clips)
            if shard in missing:
                batches = batches_of_equal_length(part, batch_size)
                arrays = _embed_shard(writer, shard, embedder, batches, clips, progress)
                writer.write_shard(shard, **arrays)
            else:
                for _ in part:
                    pass  # Finished by an earlier run, in a shard after one that was not.
    if next(elements, None) is not None:
        raise SepconError(f"{clips.name} holds more clips than the {clips.num_clips} it announces")


def _take(elements: Iterator[Clip], count: int, clips: ClipDataset) -> Iterator[Clip]:
    for _ in range(count):
        element = next(elements, None)
        if element is None:
            raise SepconError(
                f"{clips.name} holds fewer clips than the {clips.num_clips} it announces"
            )
        yield element


def _embed_shard(
    writer: EmbeddingWriter,
    shard: int,
    embedder: ClipEmbedder,
    batches: Iterable[list[tuple[int, Clip]]],
    clips: ClipDataset,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Returns the arrays of a shard."""
    num_clips, patches = writer.layout.clips_in(shard), writer.layout.patches
    ids: list[str] = [""] * num_clips
    labels: list[np.ndarray] = [np.zeros(0)] * num_clips
    rows: list[np.ndarray] = [np.zeros(0)] * num_clips
    for batch in batches:
        names = [os.fsdecode(clip["id"]) for _, clip in batch]
        waveform = to_float(tf.constant(np.stack([clip["audio"] for _, clip in batch]))).numpy()
        heard = _at_rate(waveform, clips.sample_rate_hz, embedder.sample_rate_hz)
        embedded = embedder.embed_clips(names, heard, patches=patches)
        for (place, clip), name, embedding in zip(batch, names, embedded, strict=True):
            if not np.isfinite(embedding).all():
                raise SepconError(
                    f"the embedding of clip {name!r} is not finite: "
                    f"the model {embedder.fingerprint[:12]} is broken, or diverged in training"
                )
            ids[place], labels[place], rows[place] = name, clip["labels"] > 0.5, embedding
        progress.advance(len(batch))
    arrays = {
        "ids": np.array(ids),
        "embedding": np.concatenate(rows),
        "labels": np.stack(labels),
    }
    return arrays | ({"patches": np.array([len(each) for each in rows])} if patches else {})


def _at_rate(waveform: np.ndarray, rate_hz: int, wanted_hz: int | None) -> np.ndarray:
    if wanted_hz in (None, rate_hz):
        return waveform
    return np.stack([resampled(clip, rate_hz=rate_hz, wanted_hz=wanted_hz) for clip in waveform])


def batches_of_equal_length(
    clips: Iterable[Clip], batch_size: int
) -> Iterator[list[tuple[int, Clip]]]:
    """Groups clips by length without holding many of them.

    Args:
      clips: elements with 'audio' [samples].
      batch_size: clips in a batch at most; fewer when they are long.

    Yields:
      Batches of (position in `clips`, clip), each of one length. Every clip once.
    """
    waiting: dict[int, list[tuple[int, Clip]]] = {}
    samples_waiting = 0
    for place, clip in enumerate(clips):
        length = len(clip["audio"])
        waiting.setdefault(length, []).append((place, clip))
        samples_waiting += length
        full = len(waiting[length]) >= min(batch_size, _MAX_SAMPLES // max(length, 1))
        if not full and samples_waiting > _MAX_SAMPLES:
            length = max(waiting, key=lambda key: key * len(waiting[key]))
            full = True
        if full:
            batch = waiting.pop(length)
            samples_waiting -= length * len(batch)
            yield batch
    yield from waiting.values()
