"""The separation task: pairs, crops, gains, shares and what is logged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.losses.mixit import mixit_loss
from sepcon.losses.mixit_snr import mixit_negative_snr_db
from sepcon.models.separator import Separator, SeparatorConfig
from sepcon.tasks.separation import SeparationTask, count_active_sources, spectrograms

HERE = Path(__file__).parent
TINY = SeparatorConfig(num_sources=3, bottleneck=6, conv_channels=8, num_repeats=1, num_dilations=2)
CLIP, SEGMENT = 1000, 800


def make_task(**options):
    keras.utils.set_random_seed(0)
    options = {"segment_seconds": SEGMENT / 16000, **options}
    return SeparationTask(Separator(TINY), **options)


def make_batch(rows=4, seed=0):
    random = np.random.default_rng(seed)
    return {
        "audio": tf.constant(random.integers(-20000, 20000, [rows, CLIP]), tf.int16),
        "uniforms": tf.constant(random.random([rows, 2]), tf.float32),
    }


def references(batch, gain_range_db):
    """Neighbouring pairs of cut and scaled clips, by loops."""
    clips = []
    for audio, (place, gain) in zip(batch["audio"].numpy(), batch["uniforms"].numpy(), strict=True):
        start = int(place * (CLIP - SEGMENT + 1))
        factor = 10 ** (gain_range_db * (2 * gain - 1) / 20)
        clips.append(audio[start : start + SEGMENT] / 32768 * factor)
    return np.float32([[clips[i], clips[i + 1]] for i in range(0, len(clips), 2)])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gain_range_db", [0.0, 6.0])
def test_loss_is_that_of_neighbouring_clips(training, gain_range_db):
    task, batch = make_task(gain_range_db=gain_range_db), make_batch()
    reference = references(batch, gain_range_db)
    estimate = task.model(reference.sum(axis=1))
    expected = mixit_loss(reference=reference, estimate=estimate).loss
    values = tf.function(task.loss, autograph=False)(batch, training=training)
    assert set(values) == {"loss", "negative_snr_db", "active_sources"}
    np.testing.assert_allclose(values["loss"], np.mean(expected), rtol=1e-4)


def test_every_weight_is_trained():
    task = make_task()
    with tf.GradientTape() as tape:
        loss = task.loss(make_batch(), training=True)["loss"]
    variables = [variable.value for variable in task.model.trainable_variables]
    assert all(gradient is not None for gradient in tape.gradient(loss, variables))


def test_the_uniform_next_to_one_cuts_inside_the_clip():
    batch = make_batch()
    batch["uniforms"] = tf.fill([4, 2], np.nextafter(np.float32(1), np.float32(0)))
    assert np.isfinite(make_task().loss(batch, training=False)["loss"])


def test_clips_shorter_than_the_segment_are_taken_whole():
    task = make_task(segment_seconds=10.0)
    assert task.summaries(make_batch()).audio["mixture"][0].shape == (2, CLIP)


def test_an_odd_number_of_clips_is_refused():
    with pytest.raises(ValueError, match="even number"):
        make_task().loss(make_batch(rows=3), training=False)


def test_the_ratio_is_the_loss_without_its_constant():
    random = np.random.default_rng(0)
    reference = random.normal(size=[5, 2, 300]).astype(np.float32)
    estimate = random.normal(size=[5, 3, 300]).astype(np.float32)
    result = mixit_loss(reference=reference, estimate=estimate)
    constant = np.mean(10 * np.log10(np.sum(np.square(reference), axis=-1)), axis=-1)
    got = mixit_negative_snr_db(
        reference=reference, estimate=estimate, mixing_matrix=result.mixing_matrix
    )
    np.testing.assert_allclose(got, result.loss - constant, rtol=1e-4)


@pytest.mark.parametrize("level, expected", [(0.0, 0.0), (1.0, -30.0)])
def test_the_ratio_of_silence_and_perfection(level, expected):
    reference = np.float32([[[1.0, -1.0, 1.0], [0.0, 2.0, 0.0]]])
    got = mixit_negative_snr_db(
        reference=reference,
        estimate=level * reference,
        mixing_matrix=np.eye(2, dtype=np.float32)[None],
    )
    np.testing.assert_allclose(got, [expected], atol=0.01)


def test_a_silent_reference_keeps_the_ratio_finite():
    reference = np.float32([[[1.0, -1.0, 1.0], [0.0, 0.0, 0.0]]])
    got = mixit_negative_snr_db(
        reference=reference, estimate=reference, mixing_matrix=np.eye(2, dtype=np.float32)[None]
    )
    np.testing.assert_allclose(got, [-30.0], atol=0.01)


def test_active_sources_are_within_20_db_of_the_loudest():
    amplitude = np.float32([[1.0, 0.11, 0.09], [0.0, 0.0, 0.0]])
    estimate = amplitude[:, :, np.newaxis] * np.ones([2, 3, 50], np.float32)
    np.testing.assert_array_equal(count_active_sources(estimate), [2.0, 3.0])


def test_summaries_show_mixture_and_sources():
    task = make_task()
    summaries = task.summaries(make_batch(rows=6))
    assert set(summaries.audio) == {"mixture", "source_0", "source_1", "source_2"}
    tracks = [waveform.numpy() for waveform, rate in summaries.audio.values() if rate == 16000]
    np.testing.assert_allclose(tracks[0], np.sum(tracks[1:], axis=0), atol=1e-4)
    assert max(np.abs(track).max() for track in tracks) <= 1.0
    image = summaries.images["mixture_and_sources"]
    assert image.shape[:2] == (2, 4 * 64)
    assert image.shape[3] == 1
    assert float(tf.reduce_min(image)) >= 0.0
    assert float(tf.reduce_max(image)) == 1.0


def test_spectrogram_has_low_frequencies_at_the_bottom_of_each_track():
    time = np.arange(8000) / 16000
    low, high = np.sin(2 * np.pi * 150 * time), np.sin(2 * np.pi * 6000 * time)
    image = spectrograms(tf.constant(np.stack([low, high])[np.newaxis], tf.float32))
    rows = image.numpy()[0, :, :, 0].mean(axis=1)
    assert rows[:64].argmax() > 50
    assert rows[64:].argmax() < 14


def test_two_replicas_give_the_loss_and_gradients_of_one():
    child = subprocess.run(
        [sys.executable, str(HERE / "separation_replicas_child.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    results = json.loads(child.stdout.splitlines()[-1])
    assert results["replicas"] == 2
    for name, value in results["one"]["values"].items():
        assert results["two"]["values"][name] == pytest.approx(value, rel=1e-4), name
    for one, two in zip(*(results[key]["gradients"] for key in ("one", "two")), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-4)
