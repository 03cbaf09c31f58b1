"""The separation task: pairs, crops, gains, shares and what is logged."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from separation_setup import CLIP, SEGMENT, make_batch, make_scenes, make_task

from sepcon.errors import SepconError
from sepcon.losses.mixit import mixit_loss
from sepcon.losses.mixit_snr import mixit_negative_snr_db
from sepcon.losses.overseparation import source_covariance, source_sparsity
from sepcon.losses.permutation import permutation_invariant_loss
from sepcon.tasks.separation import (
    count_active_sources,
    spectrograms,
    supervised_pairs,
)

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def spec(batch):
    return {name: tf.TensorSpec(value.shape, value.dtype) for name, value in batch.items()}


def cut(batch, name, gain_range_db):
    """Cut and scaled waveforms, by loops."""
    rows = []
    for x, (place, gain) in zip(batch[name].numpy(), batch["uniforms"].numpy(), strict=True):
        start = int(place * (CLIP - SEGMENT + 1))
        factor = 10 ** (gain_range_db * (2 * gain - 1) / 20)
        rows.append(x[..., start : start + SEGMENT] / 32768 * factor)
    return np.float32(rows)


def references(batch, gain_range_db):
    """Neighbouring pairs of cut and scaled clips."""
    clips = cut(batch, "audio", gain_range_db)
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
    with pytest.raises(SepconError, match="batch_size: got 3 clips per replica, expected an even"):
        make_task().check_batch(spec(make_batch(rows=6)), 2)


@pytest.mark.parametrize("share, pairs", [(0.5, [1, 3]), (0.25, [3]), (1.0, [0, 1, 2, 3])])
def test_supervised_scenes_are_compared_with_their_sources(share, pairs):
    task, batch = make_task(supervised_share=share, gain_range_db=6.0), make_scenes()
    assert supervised_pairs(4, share) == pairs
    losses = []
    for pair in range(4):
        if pair in pairs:
            reference = cut(batch, "sources", 6.0)[2 * pair : 2 * pair + 2]  # two scenes
            loss = permutation_invariant_loss
        else:
            reference = references(batch, 6.0)[pair : pair + 1]
            loss = mixit_loss
        estimate = task.model(reference.sum(axis=1))
        losses.append(np.mean(loss(reference=reference, estimate=estimate).loss))
    values = tf.function(task.loss, autograph=False)(batch, training=True)
    np.testing.assert_allclose(values["loss"], np.mean(losses), rtol=1e-4)
    supervised = np.mean([losses[pair] for pair in pairs])
    np.testing.assert_allclose(values["supervised_loss"], supervised, rtol=1e-4)
    assert ("negative_snr_db" in values) == (share < 1)


def test_without_a_share_the_sources_change_nothing():
    with_sources = make_scenes()
    without = {name: value for name, value in with_sources.items() if name != "sources"}
    one, other = (make_task().loss(batch, training=False) for batch in (with_sources, without))
    assert one == other


@pytest.mark.parametrize("num_pairs", [1, 2, 3, 8, 48])
def test_replicas_hold_the_supervised_pairs_of_the_whole_batch(num_pairs):
    for count in range(num_pairs + 1):
        here = supervised_pairs(num_pairs, count / num_pairs)
        assert len(here) == count
        assert np.max(np.diff(here), initial=0) <= -(-num_pairs // max(count, 1))
        everywhere = supervised_pairs(3 * num_pairs, count / num_pairs)
        assert everywhere == [r * num_pairs + pair for r in range(3) for pair in here]


@pytest.mark.parametrize("form", ["l1", "log"])
def test_weights_of_the_losses_against_over_separation(form):
    batch = make_batch()
    task = make_task(sparsity_weight=2.0, sparsity_form=form, covariance_weight=3.0)
    values, plain = task.loss(batch, training=False), make_task().loss(batch, training=False)
    mixture = references(batch, 0.0).sum(axis=1)
    signals = {"mixture": mixture, "estimate": task.model(mixture)}
    sparsity = np.mean(source_sparsity(**signals, form=form))
    covariance = np.mean(source_covariance(**signals))
    np.testing.assert_allclose(values["sparsity"], sparsity, rtol=1e-4)
    np.testing.assert_allclose(values["covariance"], covariance, rtol=1e-4)
    expected = plain["loss"] + 2 * sparsity + 3 * covariance
    np.testing.assert_allclose(values["loss"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"supervised_share": 1.5}, "supervised_share: got 1.5, expected 0 to 1"),
        ({"sparsity_form": "l3"}, "sparsity_form: got 'l3', expected one of l1, l1_l2, log"),
        ({"supervised_share": 0.3}, "0.3 with 4 pairs .* choose a multiple of 1/4"),
        ({"supervised_share": 1.0, "sparsity_weight": 0.1}, "expected both 0"),
    ],
)
def test_impossible_supervision_is_named(options, message):
    with pytest.raises(SepconError, match=message):
        make_task(**options).check_batch(spec(make_scenes()), 1)


def test_more_sources_than_outputs_are_named():
    batch = make_scenes()
    batch["sources"] = tf.concat([batch["sources"]] * 2, axis=1)
    with pytest.raises(SepconError, match="up to 4 sources, but the separator has 3 outputs; set"):
        make_task(supervised_share=1.0).check_batch(spec(batch), 1)


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


@pytest.fixture(scope="module")
def replicas():
    child = subprocess.run(
        [warm_python.path(), str(SUPPORT / "separation_replicas_child.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT.parents[1]), str(SUPPORT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["mixit", "semi_supervised"])
def test_two_replicas_give_the_loss_and_gradients_of_one(replicas, name):
    results = replicas[name]
    assert results["replicas"] == 2
    for name, value in results["one"]["values"].items():
        assert results["two"]["values"][name] == pytest.approx(value, rel=1e-4), name
    for one, two in zip(*(results[key]["gradients"] for key in ("one", "two")), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-4)
