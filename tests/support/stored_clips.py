"""Clips in records, as an import has them, with channels of one or several states."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from sepcon.data.channel_shards import ChannelWriter
from sepcon.data.clips import ClipDataset, Element, fit_length, from_reader
from sepcon.data.example_bytes import serialize_example, write_record
from sepcon.data.prepared import parse, parse_labels
from sepcon.data.records import RecordFiles
from sepcon.data.stored.clip_samples import ClipSamples
from sepcon.data.stored.envelope_file import RecordLayout
from sepcon.data.stored.samples import StoredSamples

CLASSES = ("a", "b", "c")


def noise(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """Clips of noise that is loud, soft or absent for a while, int16 [samples] each."""
    rng = np.random.default_rng(seed)
    clips = []
    for length in lengths:
        levels = np.repeat(10.0 ** rng.uniform(0, 4, -(-length // 2000)), 2000)[:length]
        levels *= np.repeat(rng.random(-(-length // 3000)) < 0.7, 3000)[:length]
        clips.append(np.clip(levels * rng.normal(size=length), -32768, 32767).astype(np.int16))
    return clips


def write_clips(path: Path, audio: Sequence[np.ndarray]) -> str:
    with open(path, "wb") as file:
        for number, samples in enumerate(audio):
            labels = [number % 3]
            features = {"id": b"clip%d" % number, "audio": samples.tobytes(), "labels": labels}
            write_record(file, serialize_example(features))
    return str(path)


def open_clips(path: str, *, clip_samples: int | None = None, by_place: bool = True) -> ClipDataset:
    """Opens what `write_clips` wrote."""
    files = RecordFiles([path])

    def read(position: tf.Tensor) -> Element:
        serialized = files.read(position)
        row = parse(serialized, {"id": tf.string, "audio": tf.int16})
        if clip_samples is not None:
            row["audio"] = fit_length(row["audio"], clip_samples, tf.constant(0.0))
        return {**row, "labels": parse_labels(serialized, len(CLASSES))}

    def samples() -> ClipSamples:
        store = StoredSamples([path], RecordLayout("audio", labels="labels"), cure="write it again")
        return ClipSamples(store, np.arange(len(store)), np.arange(len(CLASSES)), clip_samples)

    return from_reader(
        name="noise",
        num_clips=len(files),
        class_names=CLASSES,
        clip_samples=clip_samples,
        read=read,
        samples=samples if by_place else None,
    )


def write_channels(
    folder: Path, clips: ClipDataset, *, num_channels: int = 3, state: int = 0
) -> str:
    """Channels that share a clip among them, frame by frame, some of them silent for a while."""
    rng = np.random.default_rng([7, state])
    settings = {"num_channels": num_channels, "checkpoint": "run", "step": state, "shard_clips": 5}
    with ChannelWriter(folder, clips=clips, **settings) as writer:
        for element in clips.build().as_numpy_iterator():
            length = len(element["audio"])
            shares = 10.0 ** rng.uniform(-3, 0, (num_channels, -(-length // 1000)))
            shares *= rng.random(shares.shape) < 0.7
            weights = np.repeat(shares, 1000, axis=1)[:, :length]
            channels = (weights * element["audio"]).astype(np.int16)
            writer.write(element["id"], channels)
    return str(folder)
