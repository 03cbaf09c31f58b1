"""Measures of a separator on scenes, against loops over permutations."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from sepcon.data.clips import from_reader
from sepcon.errors import SepconError
from sepcon.evaluate_separation import evaluate_separation

SAMPLES = 400


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def si_snr(reference, estimate):
    target = np.dot(reference, estimate) / np.dot(reference, reference) * reference
    return 10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2))


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


def halves(mixture):
    """A separator of four channels: the beginning and the end of the mixture, and nothing."""
    middle = tf.shape(mixture)[1] // 2
    first = tf.cast(tf.range(tf.shape(mixture)[1]) < middle, tf.float32)
    return tf.stack([mixture * first, mixture * (1 - first), 0 * mixture, 0 * mixture], axis=1)


@pytest.mark.parametrize("lengths", [None, [400, 300, 401, 350, 222, 400, 123]])
def test_scenes_are_measured_by_number_of_sources(lengths):
    clips, items = scenes([2, 1, 3, 2, 0, 4, 2], lengths=lengths)
    got = evaluate_separation(halves, clips, max_clips=6, batch_size=4)
    assert got["num_scenes"] == 6
    assert [got[f"num_scenes_{k}"] for k in (1, 2, 3, 4)] == [1, 2, 1, 1]
    assert got["num_scenes_skipped"] == 1
    gains = []
    for number in (0, 3):
        sources = items[number].astype(np.float64) / 32768
        mixture = sources.sum(axis=0)
        active, channels = sources[:2], halves(mixture[None].astype(np.float32))[0].numpy()
        before = np.mean([si_snr(source, mixture) for source in active])
        pairs = itertools.permutations([channel for channel in channels if channel.any()])
        after = max(np.mean([si_snr(*pair) for pair in zip(active, p, strict=True)]) for p in pairs)
        gains.append(after - before)
    assert got["si_snri_channel_db_2"] == pytest.approx(np.mean(gains), abs=1e-3)
    means = [got["si_snri_channel_db_2"]] * 2 + [got[f"si_snri_channel_db_{k}"] for k in (3, 4)]
    assert got["si_snri_channel_db"] == pytest.approx(np.mean(means))
    assert ("mixit_negative_snr_db" in got) == (lengths is None)


def test_true_sources_are_as_good_as_it_gets():
    clips, items = scenes([2, 3, 2, 2])
    table = {scene.sum(0, dtype=np.int16).tobytes(): scene for scene in items}

    def look_up(mixture):
        keys = np.rint(mixture * 32768).astype(np.int16)
        zeros = np.zeros([4, SAMPLES], np.int16)
        found = [table.get(key.tobytes(), zeros) for key in keys]
        return np.float32(found) / 32768

    def oracle(mixture):
        sources = tf.numpy_function(look_up, [mixture], tf.float32)
        return tf.ensure_shape(sources, [mixture.shape[0], 4, SAMPLES])

    got = evaluate_separation(oracle, clips, batch_size=3)
    assert got["num_scenes_2"] == 3
    assert got["si_snri_channel_db_2"] > 60
    assert got["si_snri_group_db_3"] > 60


def test_clips_without_known_sources_are_refused():
    clips, _ = scenes([1, 2], known=False)
    with pytest.raises(SepconError, match="sources"):
        evaluate_separation(halves, clips)
