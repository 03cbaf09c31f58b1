"""Losses on waveforms against their formulas in float64 loops."""

import math

import numpy as np
import pytest
import tensorflow as tf

from sepcon.losses import snr

RNG = np.random.default_rng(0)
REFERENCE = RNG.standard_normal((3, 2, 500)).astype(np.float32)
ESTIMATE = (REFERENCE + 0.3 * RNG.standard_normal((3, 2, 500))).astype(np.float32)


def log_mse_by_loops(reference, estimate, max_snr_db):
    losses = np.zeros(reference.shape[:-1])
    for place in np.ndindex(losses.shape):
        error = scale = 0.0
        for x, y in zip(reference[place], estimate[place], strict=True):
            error += (float(x) - float(y)) ** 2
            scale += float(x) ** 2
        losses[place] = 10 * math.log10(error + scale / 10 ** (max_snr_db / 10) + 1e-8)
    return losses


@pytest.mark.parametrize("max_snr_db", [0.0, 30.0, math.inf])
def test_log_mse_is_its_formula(max_snr_db):
    loss = snr.log_mse(reference=REFERENCE, estimate=ESTIMATE, max_snr_db=max_snr_db)
    expected = log_mse_by_loops(REFERENCE, ESTIMATE, max_snr_db)
    np.testing.assert_allclose(loss, expected, rtol=0, atol=1e-5)


def test_negative_snr_subtracts_the_level_of_the_reference():
    loss = snr.negative_snr(reference=REFERENCE, estimate=ESTIMATE, max_snr_db=math.inf)
    error = np.sum((REFERENCE - ESTIMATE).astype(np.float64) ** 2, axis=-1)
    level = np.sum(REFERENCE.astype(np.float64) ** 2, axis=-1)
    np.testing.assert_allclose(loss, -10 * np.log10(level / error), atol=1e-5)


def test_negative_snr_at_its_limits():
    def loss(estimate):
        return float(snr.negative_snr(reference=REFERENCE[0, 0], estimate=estimate))

    assert loss(REFERENCE[0, 0]) == pytest.approx(-30, abs=1e-4)
    assert loss(np.zeros(500, np.float32)) == pytest.approx(10 * math.log10(1.001), abs=1e-4)
    assert loss(-REFERENCE[0, 0]) == pytest.approx(10 * math.log10(4.001), abs=1e-4)


def test_silence_is_finite():
    silence = tf.zeros([1, 100])
    with tf.GradientTape() as tape:
        tape.watch(silence)
        loss = snr.log_mse(reference=silence, estimate=silence)
    assert loss.numpy() == pytest.approx(-80)
    np.testing.assert_array_equal(tape.gradient(loss, silence), 0)


def test_silent_reference_is_measured_against_the_mixture():
    mixture, estimate = REFERENCE, 0.2 * ESTIMATE
    loss = snr.silent_reference_log_mse(mixture=mixture, estimate=estimate)
    for place in np.ndindex(3, 2):
        energy = np.sum(np.float64(estimate[place]) ** 2)
        energy += 0.01 * np.sum(np.float64(mixture[place]) ** 2)
        assert loss.numpy()[place] == pytest.approx(10 * math.log10(energy), abs=1e-5)


def si_snr_by_projection(reference, estimate):
    reference, estimate = np.float64(reference), np.float64(estimate)
    signal = reference * (estimate @ reference) / (reference @ reference)
    noise = estimate - signal
    return 10 * np.log10((signal @ signal) / (noise @ noise))


@pytest.mark.parametrize("noise_db", [20.0, 0.0, -30.0, -60.0])
@pytest.mark.parametrize("gain", [1.0, 1e-3, -50.0])
def test_si_snr_is_the_projection_formula_at_any_gain(noise_db, gain):
    reference = REFERENCE[0, 0]
    noise = 10 ** (noise_db / 20) * RNG.standard_normal(500)
    estimate = (gain * (reference + noise)).astype(np.float32)
    loss = float(snr.negative_si_snr(reference=reference, estimate=estimate))
    assert loss == pytest.approx(-si_snr_by_projection(reference, estimate), abs=0.06)


def test_si_snr_of_a_silent_estimate_is_the_worst():
    loss = snr.negative_si_snr(reference=REFERENCE[0, 0], estimate=np.zeros(500, np.float32))
    assert float(loss) == pytest.approx(80, abs=1e-3)


LOSSES = [snr.log_mse, snr.negative_snr, snr.negative_si_snr]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_that_of_finite_differences(loss):
    reference = tf.constant(RNG.standard_normal((2, 7)))
    estimate = tf.constant(RNG.standard_normal((2, 7)))
    exact, numeric = tf.test.compute_gradient(
        lambda x: loss(reference=reference, estimate=x), [estimate], delta=1e-5
    )
    np.testing.assert_allclose(exact[0], numeric[0], atol=1e-5)


def test_both_snr_forms_have_one_gradient():
    gradients = []
    for loss in (snr.log_mse, snr.negative_snr):
        estimate = tf.constant(ESTIMATE)
        with tf.GradientTape() as tape:
            tape.watch(estimate)
            value = loss(reference=REFERENCE, estimate=estimate)
        gradients.append(tape.gradient(value, estimate))
    np.testing.assert_array_equal(*gradients)


@pytest.mark.parametrize("loss", LOSSES)
def test_eager_and_graph_agree_at_unknown_batch(loss):
    unknown = tf.TensorSpec([None, 2, None], tf.float32)

    @tf.function(input_signature=[unknown, unknown])
    def graph(reference, estimate):
        return loss(reference=reference, estimate=estimate)

    np.testing.assert_allclose(
        graph(REFERENCE, ESTIMATE), loss(reference=REFERENCE, estimate=ESTIMATE), atol=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(ValueError, match=r"\(3, 2, 500\) and \(3, 1, 500\)"):
        loss(reference=REFERENCE, estimate=ESTIMATE[:, :1])
