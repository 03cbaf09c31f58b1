"""Scenes of noise whose sources are known, made by the tests."""

import numpy as np
import tensorflow as tf

from sepcon.data.clips import from_reader

SAMPLES = 400


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def scenes(counts, *, known=True, lengths=None):
    """Noise scenes with the given numbers of sources; each source has its own seed."""
    lengths = lengths or [SAMPLES] * len(counts)
    items = []
    for number, (count, length) in enumerate(zip(counts, lengths, strict=True)):
        sources = np.zeros([4, length], np.int16)
        sources[:count] = np.clip(2000 * normal(count, length, seed=number), -8000, 8000)
        items.append(sources)

    def read(position):
        audio = tf.numpy_function(lambda i: items[i].sum(0, dtype=np.int16), [position], tf.int16)
        audio.set_shape([SAMPLES if len(set(lengths)) == 1 else None])
        return {"id": tf.strings.as_string(position), "audio": audio, "labels": tf.zeros([0])}

    def read_with_sources(position):
        sources = tf.numpy_function(lambda i: items[i], [position], tf.int16)
        sources.set_shape([4, SAMPLES if len(set(lengths)) == 1 else None])
        return {**read(position), "sources": sources}

    clips = from_reader(
        name="noise",
        num_clips=len(counts),
        class_names=(),
        clip_samples=SAMPLES if len(set(lengths)) == 1 else None,
        read=read,
        read_with_sources=read_with_sources if known else None,
    )
    return clips, items
